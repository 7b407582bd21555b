package knative

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// brakeKeys is how many deletes never wait.
const brakeKeys = 5

// group is the name of the group and of its buckets.
const group = "knative"

// options of a run, from the command line.
type options struct {
	dir, cli                                string
	seed                                    uint64
	normalizer, broker, proxy, dsn, control string
	victims                                 []string
	first, over, p99, killOver, within      time.Duration
	rate, killRate                          float64
	kills                                   int
	output, where, results                  string
	cluster                                 bool
}

func (o *options) common(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.dir, "dir", "", "folder for the document and logs (required)")
	f.StringVar(&o.cli, "bucketmesh", "", "the command line program (required)")
	f.Uint64Var(&o.seed, "seed", 1, "of all contents")
	f.StringVar(&o.where, "fleet", "minios", "where the replicas are: minios, or clouds (Cloud Storage and Azure)")
}

// open makes the buckets and the document, or finds them as they were made.
func (o *options) open(ctx context.Context, getenv func(string) string, there bool) (*e2e.Stage, error) {
	if o.dir == "" || o.cli == "" {
		return nil, errors.New("--dir and --bucketmesh are required")
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // services of other users read the document
		return nil, fmt.Errorf("make folder: %w", err)
	}
	fleet, err := fleetOf(o.where)
	if err != nil {
		return nil, err
	}
	return e2e.Open(ctx, e2e.Options{
		Name: group, Seed: o.seed, Limit: o.within, Dir: o.dir, Program: o.cli, There: there,
		Brake: fmt.Sprintf("{keys: %d, percent: 99}", brakeKeys),
	}, fleet.open, getenv)
}

func (o *options) run(ctx context.Context, only []string, getenv func(string) string, out, progress io.Writer) (err error) {
	for flag, value := range map[string]string{"normalizer": o.normalizer, "broker": o.broker, "state": o.dsn, "control": o.control} {
		if value == "" {
			return fmt.Errorf("--%s is required", flag)
		}
	}
	client, err := clientThrough(o.proxy)
	if err != nil {
		return err
	}
	stage, err := o.open(ctx, getenv, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	fleet, err := fleetOf(o.where)
	if err != nil {
		return err
	}
	w := &world{options: *o, fleet: fleet, doors: fleet.doors(o.normalizer, getenv), stage: stage, http: client, token: getenv("BUCKETMESH_E2E_NOTIFY_TOKEN"), progress: progress}
	r, err := w.play(ctx, only)
	if err != nil {
		return err
	}
	if o.results != "" {
		if err := r.keep(o.results, o.where); err != nil {
			return err
		}
	}
	return r.print(out, o.output)
}

// clientThrough is an HTTP client that asks a proxy, if there is one, for whatever is not at loopback.
func clientThrough(proxy string) (*http.Client, error) {
	t := &http.Transport{MaxIdleConnsPerHost: 32, IdleConnTimeout: time.Minute}
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			return nil, fmt.Errorf("--proxy: %w", err)
		}
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			if ip := net.ParseIP(r.URL.Hostname()); ip != nil && ip.IsLoopback() {
				return nil, nil //nolint:nilnil // none, as in net/http
			}
			return u, nil
		}
	}
	return &http.Client{Transport: t, Timeout: time.Minute}, nil
}
