// Command normalizer-azure is the service that takes the notifications of Azure Blob Storage, as Event Grid delivers them, and
// sends them to the broker as CloudEvents.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

func main() {
	os.Exit(serve.Main("normalizer-azure", serve.BuildVersion(), build))
}

func build(_ context.Context, rt serve.Runtime) (serve.Config, error) {
	group, err := env.Group(rt.Getenv, config.Options{})
	if err != nil {
		return serve.Config{}, fmt.Errorf("load group: %w", err)
	}
	sink, err := env.Sink(rt.Getenv)
	if err != nil {
		return serve.Config{}, fmt.Errorf("make sink: %w", err)
	}
	handler, err := receive.Azure(receive.Config{
		Group: group, Tokens: env.List(rt.Getenv(env.Tokens)), Entra: receive.EntraOf(rt.Getenv),
		Origins: env.List(rt.Getenv(env.WebhookOrigins)), Sink: sink,
		DeadLetters: receive.Unrecognized{Group: group.Name, Provider: "azure", Sink: sink},
		Logger:      rt.Logger, Telemetry: rt.Telemetry,
	})
	if err != nil {
		return serve.Config{}, fmt.Errorf("make handler: %w", err)
	}
	return serve.Config{Handler: handler, Public: true}, nil
}
