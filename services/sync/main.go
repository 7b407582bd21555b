// Command sync is the service that brings keys to the same version on all replicas. It handles object.*,
// conflict.resolved and scan.requested events.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(worker.MemoryLimit)
	}
	os.Exit(serve.Main(subscriber.NameSync, serve.BuildVersion(), func(ctx context.Context, rt serve.Runtime) (serve.Config, error) {
		return worker.Service(ctx, rt, worker.AllOpeners(), worker.Role{Handler: worker.SyncHandler, Sweeps: true})
	}))
}
