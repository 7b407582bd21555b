// Command knative runs the scenarios of test/knative against a deployment. It is started by hack/knative-light.sh and by
// the suite of hack/cluster.sh; docs/testing.md says what each scenario proves. It exits with 1 if one of them fails.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/bucketmesh/bucketmesh/test/knative"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := knative.Command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		stop()
		os.Exit(1)
	}
}
