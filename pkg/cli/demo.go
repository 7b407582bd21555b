package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/bucketmesh/bucketmesh/pkg/demo"
	"github.com/bucketmesh/bucketmesh/pkg/demo/azurite"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// demoServer is the hidden command with which the demo starts this program again, once per server.
const demoServer = "demo-server"

func (a *App) demo() *cobra.Command {
	var out output
	var once bool
	opts := demo.Options{Server: thisProgram}
	cmd := &cobra.Command{
		Use:   "demo [--once]",
		Short: "See it work on this machine: nothing to install, nothing to configure",
		Long: "Starts servers that stand in for Amazon S3, Google Cloud Storage and Azure Blob Storage as three regions and keeps them\n" +
			"the same, while users in all of them write, overwrite, edit and delete, and two write one key at once. Then everything is\n" +
			"checked by listing and reading the replicas with the providers' own clients. The servers stay up to play with until\n" +
			"Ctrl-C. All data are in a temporary folder, which is removed; only loopback is used.\n\n" +
			"Azure Blob Storage needs Microsoft's Azurite: the program in $BUCKETMESH_AZURITE, or azurite on the PATH. Without it the third\n" +
			"replica is at S3, too. The other servers are in this program.\n\n" +
			"The exit code is 0 only if the replicas are equal, nothing was lost, and a conflict was found and resolved.",
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		context.AfterFunc(ctx, stop) // a second signal ends the process at once; its servers end with it
		opts.Logger = a.log
		path, err := azurite.Find(os.LookupEnv)
		if err != nil && !errkind.Is(err, errkind.NotFound) { // without it the demo says what it can't show
			return err //nolint:wrapcheck // says "find Azurite"
		}
		opts.Azurite = path
		return a.runDemo(ctx, opts, once, &out)
	}
	cmd.Flags().BoolVar(&once, "once", false, "exit after the summary")
	cmd.Flags().Uint64Var(&opts.Seed, "seed", 1, "names, sizes and contents follow from it")
	cmd.Flags().StringVar(&opts.Dir, "dir", "", "where the temporary folder is made (default: the system's place for such folders)")
	out.flag(cmd)
	return cmd
}

func (a *App) runDemo(ctx context.Context, opts demo.Options, once bool, out *output) (err error) {
	lines := &demo.Lines{Out: a.Err}
	opts.Progress = lines
	var bars *stageBars
	if a.screen() {
		bars = &stageBars{all: mpb.New(mpb.WithOutput(a.Err), mpb.WithWidth(32), mpb.WithAutoRefresh())}
		opts.Progress = bars
	}
	opts.Progress.Begin("starting servers of three clouds and bucketmesh", 0)
	d, err := demo.Start(ctx, opts)
	opts.Progress.End()
	if err != nil {
		bars.wait()
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for _, note := range d.Notes() {
		if bars == nil {
			fmt.Fprintln(a.Err, note)
		} else {
			_, _ = fmt.Fprintln(bars.all, note) // above the bars; the summary says it again
		}
	}
	s, err := d.Run(ctx)
	bars.wait()
	if err != nil {
		return interrupted(ctx, err)
	}
	if !s.OK() {
		a.code = Broken
	}
	if out.format == "json" {
		err = out.print(a.Out, s, nil)
	} else {
		err = s.Text(a.Out)
	}
	if err != nil || once {
		return err //nolint:wrapcheck // says "print"
	}
	to := a.Out
	if out.format == "json" {
		to = a.Err // the standard output is one JSON document
	}
	return d.Play(ctx, to) //nolint:wrapcheck // says what ended
}

// interrupted is what a person wanted, and the exit code says that there is no result.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errkind.New(errkind.Canceled, "the demo was interrupted")
	}
	return err
}

// demoServer is one server of a demo. It takes its options from its standard input and ends with it.
func (a *App) demoServer() *cobra.Command {
	return &cobra.Command{
		Use:    demoServer,
		Short:  "One server of the demo (started by it)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo.Serve(cmd.Context(), os.Stdin, os.Stdout) //nolint:wrapcheck // says "serve"
		},
	}
}

// thisProgram is the command that starts this program as a server of the demo.
func thisProgram(ctx context.Context) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return exec.CommandContext(ctx, self, demoServer)
}

// stageBars shows one bar per stage of the demo on a terminal.
type stageBars struct {
	all   *mpb.Progress
	bar   *mpb.Bar
	total int
}

// Begin implements demo.Progress.
func (b *stageBars) Begin(stage string, total int) {
	b.total = total
	name := decor.Name(fmt.Sprintf("%-42s ", stage))
	elapsed := decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})
	if total == 0 {
		b.bar = b.all.New(0, mpb.NopStyle(), mpb.PrependDecorators(name, elapsed))
		return
	}
	b.bar = b.all.New(int64(total), mpb.BarStyle().Lbound("[").Rbound("]"),
		mpb.PrependDecorators(name, elapsed), mpb.AppendDecorators(decor.CountersNoUnit("%d of %d")))
}

// Advance implements demo.Progress.
func (b *stageBars) Advance(n int) { b.bar.IncrBy(n) }

// End implements demo.Progress.
func (b *stageBars) End() {
	if b.total == 0 {
		b.bar.SetTotal(-1, true)
		return
	}
	b.bar.Abort(false) // of no effect on a bar that is full
}

// wait leaves the bars as they are, so that other text can follow. A nil receiver has none.
func (b *stageBars) wait() {
	if b != nil {
		b.all.Wait()
	}
}
