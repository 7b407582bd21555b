package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

func unixNano(n int64) time.Time { return time.Unix(0, n) }

func (a *App) audit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "The log of every event, chained by hashes",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.auditList(), a.auditVerify(), a.auditBalance())
	return cmd
}

func (a *App) auditList() *cobra.Command {
	var at place
	var out output
	var after int64
	var limit int
	cmd := &cobra.Command{
		Use:   "list " + stateUsage,
		Short: "List recorded events in the order of their arrival",
		Args:  noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkLimit(limit); err != nil {
			return err
		}
		return at.withState(cmd.Context(), a, func(_ string, _ state.Store, log audit.Log) error {
			if !cmd.Flags().Changed("after") && limit > 0 { // the newest are what a person looks for
				head, err := log.Head(cmd.Context())
				if err != nil {
					return fmt.Errorf("read audit log: %w", err)
				}
				after = max(0, head.Seq-int64(limit))
			}
			if limit == 0 {
				limit = math.MaxInt32 // a log takes 0 for its own default
			}
			entries, err := log.Range(cmd.Context(), after, limit)
			if err != nil {
				return fmt.Errorf("read audit log: %w", err)
			}
			if entries == nil {
				entries = []audit.Entry{} // JSON: a list
			}
			return out.print(a.Out, entries, func(w io.Writer) {
				row(w, "NUMBER", "RECORDED", "EVENT", "ABOUT", "SOURCE")
				for _, e := range entries {
					row(w, number(e.Seq), when(e.Recorded), strings.TrimPrefix(e.Type, event.Prefix), about(e.Subject), e.Source)
				}
			})
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().Int64Var(&after, "after", 0, "begin behind the entry of this number (default: the newest entries)")
	cmd.Flags().IntVar(&limit, "limit", 50, limitUsage)
	return cmd
}

// about is the key of a subject.
func about(subject string) string {
	if key, err := event.DecodeSubject(subject); err == nil {
		return visible(key)
	}
	return visible(subject)
}

// verdict is what audit verify prints as JSON.
type verdict struct {
	Sound  bool       `json:"sound"`
	Head   audit.Head `json:"head"`
	Broken int64      `json:"brokenAt,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

func (a *App) auditVerify() *cobra.Command {
	var at place
	var out output
	var expect string
	cmd := &cobra.Command{
		Use:   "verify " + stateUsage,
		Short: "Recompute the chain of hashes",
		Long: "Recomputes the hash of every entry of the audit log. What the chain can't show by itself is that its newest entries were cut\n" +
			"off, or that it was rewritten to its end: keep the head that verify prints somewhere else, and hand it in with --expect\n" +
			"the next time. The exit code is 6 if the log is not what it was.",
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var opts audit.VerifyOptions
		if expect != "" {
			if err := parseHead(expect, &opts.Expect); err != nil {
				return usageError{err}
			}
		}
		return at.withState(cmd.Context(), a, func(_ string, _ state.Store, log audit.Log) error {
			head, err := audit.Verify(cmd.Context(), log, opts)
			v := verdict{Sound: err == nil, Head: head}
			var broken *audit.Broken
			switch {
			case errors.As(err, &broken):
				v.Broken, v.Reason = broken.Seq, broken.Reason
				a.code = Broken
			case err != nil:
				return fmt.Errorf("verify audit log: %w", err)
			}
			return out.print(a.Out, v, func(w io.Writer) {
				if !v.Sound {
					fmt.Fprintf(w, "The audit log is broken at entry %d: %s.\nEntries up to %d are sound.\n", v.Broken, v.Reason, v.Head.Seq)
					return
				}
				fmt.Fprintf(w, "The audit log is sound: %d entries.\nHead: %d:%s\n", v.Head.Seq, v.Head.Seq, v.Head.Hash)
			})
		})
	}
	at.flags(cmd)
	out.flag(cmd)
	cmd.Flags().StringVar(&expect, "expect", "", "a head that was remembered, NUMBER:HASH")
	return cmd
}

func parseHead(text string, head *audit.Head) error {
	seq, hash, ok := strings.Cut(text, ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	if ok && err == nil && n > 0 && head.Hash.UnmarshalText([]byte(hash)) == nil {
		head.Seq = n
		return nil
	}
	return fmt.Errorf("the flag --expect must be NUMBER:HASH as verify prints it, not %q", text)
}
