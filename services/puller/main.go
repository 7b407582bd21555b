// Command puller is the service that takes notifications out of queues (SQS, Pub/Sub, Azure's Queue Storage), and sends
// them to the broker as CloudEvents. It runs all the time: it is a Deployment, nothing would wake it up from zero.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

func main() {
	os.Exit(serve.Main("puller", serve.BuildVersion(), build))
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
	p, err := pull.New(pull.Config{
		Group: group, Topics: env.List(rt.Getenv(env.Topics)), Sink: sink,
		DeadLetters: receive.Unrecognized{Group: group.Name, Sink: sink},
		LookupEnv:   func(name string) (string, bool) { v := rt.Getenv(name); return v, v != "" },
		Logger:      rt.Logger, Telemetry: rt.Telemetry,
	})
	if err != nil {
		return serve.Config{}, fmt.Errorf("make puller: %w", err)
	}
	if len(p.Queues()) == 0 {
		return serve.Config{}, errkind.New(errkind.Invalid, "make puller: no replica of the group %s has a queue: set notifications.pull", group.Name)
	}
	return serve.Config{
		Handler: http.NotFoundHandler(), Background: p.Run, Ready: []serve.Check{{Name: "queues", Do: p.Ready}},
	}, nil
}
