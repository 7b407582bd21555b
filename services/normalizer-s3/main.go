// Command normalizer-s3 is the service that takes the notifications of S3 and of servers that speak its language, and
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
	os.Exit(serve.Main("normalizer-s3", serve.BuildVersion(), build))
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
	maxAge, err := env.Duration(rt.Getenv, env.SNSMaxAge)
	if err != nil {
		return serve.Config{}, fmt.Errorf("read environment: %w", err)
	}
	handler, err := receive.S3(receive.Config{
		Group: group, Tokens: env.List(rt.Getenv(env.Tokens)), Topics: env.List(rt.Getenv(env.Topics)), SNSMaxAge: maxAge, Sink: sink,
		DeadLetters: receive.Unrecognized{Group: group.Name, Provider: "s3", Sink: sink},
		Logger:      rt.Logger, Telemetry: rt.Telemetry,
	})
	if err != nil {
		return serve.Config{}, fmt.Errorf("make handler: %w", err)
	}
	return serve.Config{Handler: handler, Public: true}, nil
}
