package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// upCommand is the process under test: the whole pipeline, wired as "bucketmesh up" does it, with a trap. Its leases are
// short, so that what a dead process left behind is taken up in seconds.
func upCommand() *cobra.Command {
	var o pipeline.Options
	var file string
	var t trap
	c := &cobra.Command{
		Use: "up", Short: "The process under test", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Group, err = config.LoadFile(file, config.Options{Providers: pipeline.Openers().Providers()}); err != nil {
				return err
			}
			o.Tokens = env.List(os.Getenv(env.Tokens))
			o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
			o.Probe = object.ProbeOptions{Writers: 2, Rounds: 1} // what these servers promise is not the question here
			if t.line != "" {
				o.Trace = t.step
			}
			return up(cmd.Context(), o)
		},
	}
	fs := c.Flags()
	fs.StringVarP(&file, "file", "f", "", "the SyncGroup document")
	fs.StringVar(&o.DataDir, "data", "", "data directory")
	fs.StringVar(&o.Listen, "listen", "", "host:port for notifications")
	fs.StringVar(&o.State, "state", "", "PostgreSQL database for the state")
	fs.DurationVar(&o.Lease, "lease", 3*time.Second, "of an intent")
	fs.StringVar(&t.line, "line", "", "where the process kills itself")
	fs.Int64Var(&t.nth, "nth", 1, "at which time that it comes there")
	fs.StringVar(&t.mark, "mark", "", "the file that it writes before")
	return c
}

func up(ctx context.Context, o pipeline.Options) (err error) {
	p, err := pipeline.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	socket, err := pipeline.SocketPath(o.DataDir)
	if err != nil {
		return err
	}
	server, err := control.Serve(ctx, socket, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	select {
	case <-ctx.Done():
		return nil
	case <-p.Failed():
		return p.Err()
	}
}
