// Command conflict-resolver is the service that settles conflicts: it preserves the losers, then stores who won. It handles
// conflict.detected events.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/bucketmesh/bucketmesh/pkg/judge"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(worker.MemoryLimit)
	}
	os.Exit(serve.Main(subscriber.NameResolver, serve.BuildVersion(), func(ctx context.Context, rt serve.Runtime) (serve.Config, error) {
		return worker.Service(ctx, rt, worker.AllOpeners(), worker.Role{
			Handler: worker.ResolverHandler, Judge: judge.New(judge.Config{LookupEnv: os.LookupEnv, Logger: rt.Logger}),
		})
	}))
}
