// Command e2e is the end-to-end proof on real servers: users write to all replicas of a group with the provider's plain SDK
// while "bucketmesh up" runs, is killed, or hears of nothing. Then the replicas are read independently and must be equal,
// and every content that a server ever acknowledged must be current, overwritten by a user who had seen it, or kept. It is
// started by hack/e2e.sh, which starts the servers; docs/testing.md says what each mode proves.
//
// It exits with 1 and the full evidence if anything is not so.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := e2e.Command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		stop()
		os.Exit(1)
	}
}
