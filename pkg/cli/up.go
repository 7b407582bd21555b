package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// place is where a group's state and events are.
type place struct {
	file, data, state, nats string
}

func (p *place) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&p.file, "file", "f", "", "the SyncGroup document; without it, the one that the data directory was last used with")
	f.StringVar(&p.data, "data", "", "data directory: state, events and lock (required)")
	f.StringVar(&p.state, "state", "", "PostgreSQL database for the state, postgres://... (default $"+env.State+", else SQLite in the data directory)")
	f.StringVar(&p.nats, "nats", "", "NATS server with JetStream for the events, nats://... (default $"+EnvNATS+", else embedded, in the data directory)")
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
}

// options are those of a pipeline at this place.
func (p *place) options(a *App) (pipeline.Options, error) {
	if p.data == "" {
		return pipeline.Options{}, noDirectory()
	}
	return p.optionsAnywhere(a)
}

func noDirectory() error {
	return usageError{errors.New("the flag --data is missing: where are state and events to be kept?")}
}

// optionsAnywhere are the same, without a data directory, too, if a document is named.
func (p *place) optionsAnywhere(a *App) (pipeline.Options, error) {
	o := pipeline.Options{
		DataDir: p.data, State: p.state, NATS: p.nats, LookupEnv: a.LookupEnv, Logger: a.log, Telemetry: a.telemetry,
		Openers: pipeline.Openers(),
	}
	if o.State == "" {
		o.State = a.env(env.State)
	}
	if o.NATS == "" {
		o.NATS = a.env(EnvNATS)
	}
	var err error
	o.Group, err = p.group()
	return o, err
}

func (p *place) group() (*config.Group, error) {
	if p.file != "" {
		return config.LoadFile(p.file, pipeline.Openers().Document()) //nolint:wrapcheck // names the file
	}
	g, err := pipeline.LoadGroup(p.data)
	switch {
	case errkind.Is(err, errkind.NotFound):
		return nil, withCode(Misconfigured, fmt.Errorf("%s is no data directory of bucketmesh: no document is in it; name the --data of `bucketmesh up`", p.data))
	case errkind.Is(err, errkind.PermissionDenied):
		return nil, fmt.Errorf("%w: run it as the user of `bucketmesh up`", err)
	}
	return g, err //nolint:wrapcheck // names the directory
}

func (a *App) up() *cobra.Command {
	var at place
	var listen string
	cmd := &cobra.Command{
		Use:   "up -f group.yaml --data DIR",
		Short: "Run everything in this process until SIGTERM",
		Long: "Runs the whole pipeline in this process: it takes the buckets' notifications, keeps the replicas the same, resolves\n" +
			"conflicts and records every event. SIGTERM or an interrupt ends it in order; a second one ends it at once. Nothing is\n" +
			"lost either way.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := pipeline.ListenHost(listen); err != nil {
				return usageError{err}
			}
			o, err := at.options(a)
			if err != nil {
				return err
			}
			o.Listen, o.Tokens, o.Topics = listen, env.List(a.env(env.Tokens)), env.List(a.env(env.Topics))
			if o.SNSMaxAge, err = env.Duration(a.env, env.SNSMaxAge); err != nil {
				return err //nolint:wrapcheck // names the variable
			}
			o.Push, o.Entra, o.Origins = receive.PushOf(a.env), receive.EntraOf(a.env), env.List(a.env(env.WebhookOrigins))
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends the process at once
			return a.runUp(ctx, o)
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9900", "host:port for notifications; anything but loopback needs $"+env.Tokens)
	return cmd
}

func (a *App) runUp(ctx context.Context, o pipeline.Options) (err error) {
	p, err := pipeline.Start(ctx, o)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	socket, err := pipeline.SocketPath(o.DataDir)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	server, err := control.Serve(ctx, socket, p)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	a.greet(p, o)
	select {
	case <-ctx.Done():
		return nil
	case <-p.Failed():
		return p.Err() //nolint:wrapcheck // says what failed
	}
}

// greet says how to make the buckets tell of their changes.
func (a *App) greet(p *pipeline.Pipeline, o pipeline.Options) {
	fmt.Fprintf(a.Err, "bucketmesh: group %s is up. Have the buckets post their notifications to:\n", o.Group.Name)
	unnamed := false
	for _, r := range o.Group.Replicas {
		url := p.WebhookURL(r)
		unnamed = unnamed || strings.HasPrefix(url, "http://HOST:")
		fmt.Fprintf(a.Err, "  %-12s %s\n", r.Name, url)
	}
	if unnamed {
		fmt.Fprintln(a.Err, "HOST is a name or an address of this machine that the servers reach.")
	}
	if len(o.Tokens) > 0 {
		fmt.Fprintf(a.Err, "Senders show a token of $%s: MinIO as auth_token, others as the password in the URL.\n", env.Tokens)
	}
	fmt.Fprintln(a.Err, "What is in the buckets already is brought together by: bucketmesh sync --data "+o.DataDir)
}
