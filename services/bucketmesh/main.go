// Command bucketmesh is the command line, and the whole pipeline in one process.
package main

import (
	"context"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/term"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
)

// memoryLimit makes the collector work harder before the process needs more memory than a small machine has: objects
// under way take up to 96 MiB of it. GOMEMLIMIT overrides it.
const memoryLimit = 200 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	app := &cli.App{Version: version(), Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal}
	os.Exit(int(app.Run(context.Background(), os.Args[1:])))
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
