// Command bucketmesh is the command line, and the whole pipeline in one process.
package main

import (
	"context"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/term"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(worker.MemoryLimit)
	}
	app := &cli.App{Version: serve.BuildVersion(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal}
	os.Exit(int(app.Run(context.Background(), os.Args[1:])))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
