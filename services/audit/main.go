// Command audit is the service that records every event in an append-only log, chained by hashes.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber/record"
)

func main() {
	os.Exit(serve.Main("audit", serve.BuildVersion(), build))
}

func build(ctx context.Context, rt serve.Runtime) (serve.Config, error) {
	dsn, err := env.DSN(rt.Getenv)
	if err != nil {
		return serve.Config{}, fmt.Errorf("read environment: %w", err)
	}
	store, err := postgres.Open(ctx, dsn, postgres.Options{Wait: env.StateWait})
	if err != nil {
		return serve.Config{}, fmt.Errorf("open log: %w", err)
	}
	log := store.Audit()
	events, err := serve.Events(&record.Handler{Log: log}, serve.Options{Logger: rt.Logger, Telemetry: rt.Telemetry})
	if err != nil {
		return serve.Config{}, fmt.Errorf("make handler: %w", err)
	}
	return serve.Config{Handler: events, Ready: []serve.Check{{Name: "log", Do: func(ctx context.Context) error {
		_, err := log.Head(ctx)
		return err
	}}}}, nil
}
