package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/test/chaos/register"
)

type registersOptions struct {
	place
	rounds, clients, keys, ops int
	limit                      time.Duration
	versitygwDeletes           bool
	minioPlain                 bool
}

func registersCommand() *cobra.Command {
	var o registersOptions
	c := &cobra.Command{
		Use: "registers", Short: "Histories of conditional requests at each provider are linearizable", Args: cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if o.rounds < 1 || o.clients < 2 || o.keys < 1 || o.ops < 1 {
				return errors.New("--rounds, --keys and --ops must be at least 1, --clients at least 2")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			results, err := registers(cmd.Context(), o, os.Getenv)
			return errors.Join(err, printRegisters(os.Stdout, o.output, results))
		},
	}
	o.flags(c)
	fs := c.Flags()
	fs.IntVar(&o.rounds, "rounds", 50, "histories at each provider")
	fs.IntVar(&o.clients, "clients", 8, "that send requests at the same time")
	fs.IntVar(&o.keys, "keys", 2, "of one history")
	fs.IntVar(&o.ops, "ops", 60, "requests of each client in one history")
	fs.DurationVar(&o.limit, "check-within", time.Minute, "time to check one history")
	fs.BoolVar(&o.versitygwDeletes, "versitygw-deletes", false, "conditional deletes at versitygw, too, which are known to be no single step there")
	fs.BoolVar(&o.minioPlain, "minio-plain-puts", false, "puts without a condition at MinIO, too, which are known to be no single step there")
	return c
}

// registerResult is what was found at one provider.
type registerResult struct {
	Server    string  `json:"server"`
	Histories int     `json:"histories"`
	Requests  int     `json:"requests"`
	Done      int     `json:"done"`
	Refused   int     `json:"refused"`
	Unknown   int     `json:"unknown"`
	Deletes   int     `json:"conditionalDeletes"`
	Broken    int     `json:"notLinearizable"`
	Undecided int     `json:"undecided"`
	Seconds   float64 `json:"seconds"`
}

// registers records and checks histories at all providers. A history that is not linearizable is drawn in the run's folder.
func registers(ctx context.Context, o registersOptions, getenv func(string) string) (results []registerResult, err error) {
	all, stop, err := buckets(ctx, fmt.Sprintf("registers-%d", time.Now().UnixNano()), o.dir, getenv)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	bad := 0
	for _, b := range all {
		res := registerResult{Server: b.name}
		began := time.Now()
		for round := range o.rounds {
			h, err := register.Record(ctx, b.bucket, register.Options{
				Prefix: fmt.Sprintf("round-%d/", round), Seed: o.seed + uint64(round), Clients: o.clients, Keys: o.keys, Ops: o.ops,
				Deletes: b.honoursDeletes() || o.versitygwDeletes && b.name == "versitygw",
				Plain:   b.plainPuts() || o.minioPlain,
			})
			if err != nil {
				return results, fmt.Errorf("%s: %w", b.name, err)
			}
			verdict, err := register.Check(h, o.limit, filepath.Join(o.dir, fmt.Sprintf("%s-%d.html", b.name, round)))
			if err != nil {
				return results, err
			}
			res.add(h, verdict)
		}
		res.Seconds = time.Since(began).Seconds()
		bad += res.Broken + res.Undecided
		results = append(results, res)
	}
	if bad > 0 {
		return results, fmt.Errorf("%d histories are not linearizable, or could not be decided: they are drawn in %s", bad, o.dir)
	}
	return results, nil
}

func (r *registerResult) add(h register.History, v register.Verdict) {
	r.Histories++
	r.Requests += len(h)
	for _, op := range h {
		switch op.Output.Answer {
		case register.Done:
			r.Done++
		case register.Refused:
			r.Refused++
		case register.Unknown:
			r.Unknown++
		}
		if op.Input.Kind == register.Remove {
			r.Deletes++
		}
	}
	switch v {
	case register.Broken:
		r.Broken++
	case register.Undecided:
		r.Undecided++
	case register.Linearizable:
	}
}

func printRegisters(out io.Writer, format string, results []registerResult) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(results)
	}
	fmt.Fprintf(out, "%-10s %9s %9s %8s %8s %8s %8s %16s %9s %8s\n",
		"server", "histories", "requests", "done", "refused", "unknown", "deletes", "not linearizable", "undecided", "seconds")
	for _, r := range results {
		fmt.Fprintf(out, "%-10s %9d %9d %8d %8d %8d %8d %16d %9d %8.1f\n",
			r.Server, r.Histories, r.Requests, r.Done, r.Refused, r.Unknown, r.Deletes, r.Broken, r.Undecided, r.Seconds)
	}
	return nil
}
