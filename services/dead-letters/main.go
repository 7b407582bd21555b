// Command dead-letters is the service that keeps what a Knative broker gave up on: the dead-letter sink of all triggers. What is
// kept is listed and replayed by the command bucketmesh dead-letters.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber/bury"
)

func main() {
	os.Exit(serve.Main("dead-letters", serve.BuildVersion(), build))
}

func build(ctx context.Context, rt serve.Runtime) (serve.Config, error) {
	group, err := env.Group(rt.Getenv, config.Options{})
	if err != nil {
		return serve.Config{}, fmt.Errorf("load group: %w", err)
	}
	dsn, err := env.DSN(rt.Getenv)
	if err != nil {
		return serve.Config{}, fmt.Errorf("read environment: %w", err)
	}
	store, err := postgres.Open(ctx, dsn, postgres.Options{Wait: env.StateWait})
	if err != nil {
		return serve.Config{}, fmt.Errorf("open store: %w", err)
	}
	keeper := &bury.Handler{Group: group.Name, Store: store.Letters(), Now: time.Now, Logger: rt.Logger}
	handler, err := keeper.HTTP(serve.Options{Logger: rt.Logger, Telemetry: rt.Telemetry})
	if err != nil {
		return serve.Config{}, fmt.Errorf("make service: %w", err)
	}
	return serve.Config{Handler: handler, Ready: []serve.Check{{Name: "store", Do: func(ctx context.Context) error {
		_, _, err := store.NextDue(ctx, group.Name) // and not a letter, which may be large
		return err
	}}}}, nil
}
