// Package demo shows the whole thing at work on one machine, with nothing to install: replicas at three clouds, the pipeline
// as it is deployed, a workload written with the SDKs that any user would take, and a check that believes none of it but
// lists and reads the replicas by itself. For the clouds stand real servers with real notifications: versitygw for Amazon S3
// (package s3server), fake-gcs-server for Google Cloud Storage (gcsserver) and, where it is installed, Azurite for Azure Blob
// Storage (azurite); else the third replica is at S3, too.
//
// Every number in a Summary is measured. What is in the replicas is known from the workload's own Ledger, from plain
// reads, and from what the servers notify; the pipeline is asked only for its request counters and its conflict records.
//
// Errors: Run returns those of servers and of the pipeline that did not start, and of requests of the workload that
// failed; a demo that ran to its end and found something wrong is no error but a Summary that is not OK.
//
// Concurrency: Run is for one goroutine; it starts its own and ends them before it returns. It uses loopback only.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
)

// GroupName is the name of the demo's group.
const GroupName = "demo"

// accessKey of all S3 servers; the secret is another one in each run.
const accessKey = "demo"

// account is the one at Azurite.
const account = "bucketmeshdemo"

// credentialsName is the name of all credentials in the configuration.
const credentialsName = "DEMO"

// Options of a run. Only Server is required; zero values have the defaults that are named.
type Options struct {
	// Server is a command whose program calls Serve with its standard streams; it is called once per server.
	Server   func(ctx context.Context) *exec.Cmd
	Azurite  string       // path of the program; default: none, the third replica is at S3
	Progress Progress     // default: nobody is told
	Logger   *slog.Logger // of the pipeline; default: only errors, to standard error
	Dir      string       // for all data, removed at the end; default: a new folder in the system's one for such things

	Seed     uint64        // of names, sizes and contents: 1
	Objects  int           // small objects: 200
	Large    int64         // bytes of the large object: 64 MiB
	Workers  int           // requests of the workload at once: 8
	Rate     float64       // changes per second that users make together: 80
	Tries    int           // at writing one key in two places before either write has travelled: 10
	Patience time.Duration // for changes to be everywhere, per step: 60 s
}

func (o Options) withDefaults() Options {
	if o.Progress == nil {
		o.Progress = Silent{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	def := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&o.Objects, 200)
	def(&o.Workers, 8)
	def(&o.Tries, 10)
	if o.Rate <= 0 {
		o.Rate = 80
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Large <= 0 {
		o.Large = 64 << 20
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	return o
}

// Demo is a running demo: servers of three clouds and the pipeline between them. Make one with Start.
type Demo struct {
	opts    Options
	dir     string
	gate    *gate
	servers []*child.Process
	sites   []Site
	notes   []string
	mesh    *pipeline.Pipeline
	token   string // with which the servers prove themselves to the normalizer
	secret  string // of the account at the S3 servers
	key     string // of the account at Azurite
	ledger  *Ledger
	watch   *watch
}

// Start starts servers and pipeline; it returns when the pipeline is ready for changes. The caller closes the Demo.
func Start(ctx context.Context, opts Options) (*Demo, error) {
	if opts.Server == nil {
		return nil, errkind.New(errkind.Invalid, "start demo: no command for servers")
	}
	opts = opts.withDefaults()
	dir, err := os.MkdirTemp(opts.Dir, "bucketmesh-demo-")
	if err != nil {
		return nil, fmt.Errorf("start demo: make folder: %w", err)
	}
	d := &Demo{opts: opts, dir: dir, ledger: &Ledger{}, notes: []string{}, token: rand.Text(), secret: rand.Text()}
	d.key = base64.StdEncoding.EncodeToString([]byte(rand.Text()))
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start demo: %w", err), d.Close())
	}
	return d, nil
}

// regions are the replicas of the demo.
var regions = []string{"us", "eu", "asia"}

func (d *Demo) start(ctx context.Context) error {
	d.watch = newWatch(regions)
	gate, err := openGate(ctx, d.watch.notified)
	if err != nil {
		return err
	}
	d.gate = gate
	if err := d.startServers(ctx); err != nil {
		return err
	}
	if d.mesh, err = d.startPipeline(ctx); err != nil {
		return err
	}
	d.gate.lead(d.mesh.URL())
	return nil
}

// startPipeline starts what `bucketmesh up` starts, with a document like any other.
func (d *Demo) startPipeline(ctx context.Context) (*pipeline.Pipeline, error) {
	group, err := config.Load([]byte(d.Document()), config.Options{})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what is wrong where
	}
	const name = "BUCKETMESH_" + credentialsName
	secrets := map[string]string{name + "_ACCOUNT_KEY": d.key}
	secrets[name+"_ACCESS_KEY_ID"], secrets[name+"_SECRET_ACCESS_KEY"] = accessKey, d.secret
	p, err := pipeline.Start(ctx, pipeline.Options{
		Group: group, DataDir: filepath.Join(d.dir, "bucketmesh"), Listen: "127.0.0.1:0", Tokens: []string{d.token},
		LookupEnv: func(name string) (string, bool) { v, ok := secrets[name]; return v, ok }, Logger: d.opts.Logger,
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what is wrong
	}
	return p, nil
}

// Document is the configuration of the demo, as a user would write it.
func (d *Demo) Document() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec:\n  replicas:\n", config.APIVersion, config.Kind, GroupName)
	for _, s := range d.sites {
		fmt.Fprintf(&b, "  - {name: %s, url: %q, mode: ReadWrite}\n", s.Where().Name, s.URL())
	}
	b.WriteString("  deletes: {hold: 0s}\n") // it shows how quick a change is; a few deletes are no mass delete
	b.WriteString("  conflicts:\n  - {match: \"**\", policy: keep-both}\n")
	return b.String()
}

// Sites are the replicas.
func (d *Demo) Sites() []Site { return d.sites }

// Notes say what this demo can't show, and why.
func (d *Demo) Notes() []string { return d.notes }

// Secret is the secret key of the account at the S3 servers.
func (d *Demo) Secret() string { return d.secret }

// AccountKey is the key of the account at Azurite.
func (d *Demo) AccountKey() string { return d.key }

// Gone is told when a server ends that should not.
func (d *Demo) Gone(ctx context.Context) error {
	var all errgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, s := range d.servers {
		all.Go(func() error {
			defer cancel()
			select {
			case <-s.Gone():
				return errkind.New(errkind.Unavailable, "server %s ended: %s", regions[i], s.Log())
			case <-ctx.Done():
				return nil
			}
		})
	}
	return all.Wait()
}

// Close stops the pipeline and the servers, in this order, and removes all data.
func (d *Demo) Close() error {
	var errs []error
	if d.mesh != nil {
		errs = append(errs, d.mesh.Close())
	}
	var all errgroup.Group
	for _, s := range d.servers {
		if s != nil {
			all.Go(func() error { s.Close(); return nil })
		}
	}
	errs = append(errs, all.Wait())
	if d.gate != nil {
		errs = append(errs, d.gate.close())
	}
	errs = append(errs, os.RemoveAll(d.dir))
	return errors.Join(errs...)
}
