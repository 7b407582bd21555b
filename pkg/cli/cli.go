// Package cli is the command line of bucketmesh: the commands, what they print and their exit codes. The work is done
// by package pipeline, in this process or, through package control, in the one that runs on the same data directory.
//
// Errors: every error becomes one exit code (see Code) and a text on standard error that says what to do about it.
//
// Concurrency: Run is called once per process; it holds nothing between calls.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

// Code is an exit code.
type Code int

// The exit codes. They are part of the interface: docs/cli.md lists them.
const (
	OK            Code = 0 // done
	Failure       Code = 1 // it did not work; the message says why
	Usage         Code = 2 // unknown command, flag or argument
	Misconfigured Code = 3 // the group, the environment, a bucket or the data directory is not as it must be
	Partial       Code = 4 // done in part: keys are left, which status lists
	NotFound      Code = 5 // what was named is not there
	Broken        Code = 6 // a verification found that something is not what it should be; of status: events were lost
	Busy          Code = 7 // a process has the data directory and does not answer yet, or any more
)

// meaning of the codes, in their order.
var meaning = []string{
	OK:            "done",
	Failure:       "it did not work; the message says why",
	Usage:         "unknown command, flag or argument",
	Misconfigured: "the group, the environment, a bucket or the data directory is not as it must be",
	Partial:       "done in part: keys are left over, which `bucketmesh status` lists",
	NotFound:      "what was named is not there",
	Broken:        "a verification found that something is not what it should be; of `bucketmesh status`: events are not accounted for",
	Busy:          "a process has the data directory and can't be asked: it is starting, stopping, or a `bucketmesh sync`; try again in a moment",
}

// EnvNATS names the NATS server that --nats would.
const EnvNATS = "BUCKETMESH_NATS"

// App is what a run of the command line may touch.
type App struct {
	Version   string
	In        io.Reader // none if nil
	Out, Err  io.Writer
	LookupEnv func(string) (string, bool)
	Terminal  func(io.Writer) bool // is it one a person looks at?

	log       *slog.Logger
	telemetry *serve.Telemetry
	code      Code // of a command that has an outcome without an error
}

func (a *App) env(name string) string {
	v, _ := a.LookupEnv(name)
	return v
}

// Run runs the command line args (without the program's name) and returns the exit code.
func (a *App) Run(ctx context.Context, args []string) Code {
	if a.LookupEnv == nil {
		a.LookupEnv = os.LookupEnv
	}
	if a.In == nil {
		a.In = strings.NewReader("")
	}
	if a.Terminal == nil {
		a.Terminal = func(io.Writer) bool { return false }
	}
	root := a.Root()
	root.SetArgs(append([]string{}, args...)) // nil would be those of the process
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return a.code
	}
	code := codeOf(err)
	a.explain(err, code, cmd.CommandPath())
	return code
}

// usageError is a mistake in the command line itself.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func codeOf(err error) Code {
	if coded, ok := errors.AsType[*codedError](err); ok {
		return coded.code
	}
	if errors.As(err, new(usageError)) {
		return Usage
	}
	if _, ok := errors.AsType[*pipeline.InUse](err); ok {
		return Misconfigured
	}
	switch errkind.Of(err) {
	case errkind.Invalid, errkind.PermissionDenied, errkind.Unauthenticated, errkind.Unsupported:
		return Misconfigured
	case errkind.NotFound:
		return NotFound
	}
	return Failure
}

// codedError has an exit code of its own.
type codedError struct {
	error
	code Code
}

func (c *codedError) Unwrap() error { return c.error }

func withCode(code Code, err error) error { return &codedError{err, code} }

// explain prints an error of a command for a person.
func (a *App) explain(err error, code Code, command string) {
	fmt.Fprintf(a.Err, "bucketmesh: %v\n", err)
	switch {
	case code == Usage:
		fmt.Fprintf(a.Err, "Run `%s --help` to see what there is.\n", command)
	case errkind.Is(err, errkind.Unavailable):
		fmt.Fprintln(a.Err, "This can pass by itself: something did not answer, or not as it should. If it does not, look at what the message names.")
	}
}

// flagError says what a flag takes, in place of the parser's own words.
func flagError(err error) error {
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	want := "it takes " + bad.GetFlag().Value.Type()
	switch bad.GetFlag().Value.Type() {
	case "int", "int64":
		want = "write a whole number"
	case "duration":
		want = "write a duration, such as 90s, 15m or 2h"
	case "bool":
		want = "write true or false, or the flag alone"
	}
	return fmt.Errorf("the flag --%s can't be %q: %s", bad.GetFlag().Name, bad.GetValue(), want)
}

// Root is the tree of commands.
func (a *App) Root() *cobra.Command {
	root := &cobra.Command{
		Use:   "bucketmesh",
		Short: "Keep object-storage buckets in several regions and clouds the same, active-active.",
		Long: "bucketmesh keeps object-storage buckets in several regions and clouds the same: write to any of them, and the change\n" +
			"is in the others within seconds. Nothing that anyone wrote is lost, even when two write one key at once.",
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{flagError(err)} })
	var level string
	root.PersistentFlags().StringVar(&level, "log-level", "", "debug, info, warn or error; the log is JSON on standard error (default warn; info for up)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) (err error) {
		if level == "" {
			level = "warn"
			if cmd.Name() == "up" {
				level = "info"
			}
		}
		if a.log, err = serve.NewLogger(a.Err, "bucketmesh", level); err != nil {
			return usageError{err}
		}
		a.telemetry, err = serve.NewTelemetry(cmd.Context(), serve.TelemetryConfig{
			Service: "bucketmesh", Version: a.Version, MetricsAddr: a.env("METRICS_ADDR"), Logger: a.log,
			OTLP: a.env("OTEL_EXPORTER_OTLP_ENDPOINT") != "",
		})
		return err //nolint:wrapcheck // says which setting is wrong
	}
	root.AddCommand(a.up(), a.validate(), a.status(), a.sync(), a.deadLetters(), a.conflicts(), a.brake(), a.undelete(), a.audit(), a.notifications())
	root.AddCommand(a.demo(), a.demoServer())
	return root
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command or argument %q", args[0])}
	}
	return nil
}
