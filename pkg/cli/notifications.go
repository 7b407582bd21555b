package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
)

const notificationsLong = "Ours is known by its name (bucketmesh-GROUP-REPLICA); what others set up at the bucket is listed as foreign, kept as it is and\n" +
	"never removed. Doing it twice changes nothing the second time. What each provider needs, and which permissions, is in\n" +
	"docs/notifications.md.\n\n" +
	"The exit code is 0 if everything is as it must be, 6 if something is to be done, 3 if a replica can't be set up as the\n" +
	"document says. Replicas without notifications.target are listed as not configured and do not count, unless they are named."

func (a *App) notifications() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notifications",
		Short: "Set up what the buckets' providers need to tell of changes",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.notificationsCommand("install", "Set it up at the buckets, beside what others set up there", notifications.Command{Goal: notifications.Install, Change: true}),
		a.notificationsCommand("check", "Look whether it is set up, and whether queues and subscriptions would lose events", notifications.Command{Goal: notifications.Install}),
		a.notificationsCommand("remove", "Remove what install set up, and nothing else", notifications.Command{Goal: notifications.Remove, Change: true}),
	)
	return cmd
}

func (a *App) notificationsCommand(name, short string, do notifications.Command) *cobra.Command {
	var file string
	var replicas []string
	var dry bool
	var timeout time.Duration
	var out output
	cmd := &cobra.Command{Use: name + " -f group.yaml", Short: short, Long: short + ".\n\n" + notificationsLong, Args: noArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case file == "":
			return usageError{errors.New("the flag --file is missing: which document?")}
		case timeout <= 0:
			return usageError{fmt.Errorf("the flag --timeout must be more than 0, not %s", timeout)}
		}
		g, err := config.LoadFile(file, pipeline.Openers().Document())
		if err != nil {
			return err //nolint:wrapcheck // names the file
		}
		if err := a.checkCredentials(g, replicas); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		context.AfterFunc(ctx, stop)
		do := do
		do.Change = do.Change && !dry
		outcomes, err := notifications.Run(ctx, notifications.Options{
			Group: g, Replicas: replicas, Openers: a.notificationProviders(), Timeout: timeout,
		}, do)
		if err != nil {
			return err //nolint:wrapcheck // says which replica is not there
		}
		a.code = notificationsCode(outcomes, dry, len(replicas) > 0)
		if err := out.print(a.Out, outcomes, func(w io.Writer) { notificationsTable(w, outcomes, do.Change) }); err != nil {
			return err
		}
		for _, o := range outcomes {
			if o.Err != nil {
				a.explain(o.Err, a.code, cmd.CommandPath())
			}
		}
		return nil
	}
	f := cmd.Flags()
	f.StringVarP(&file, "file", "f", "", "the SyncGroup document (required)")
	f.StringSliceVar(&replicas, "replica", nil, "only this replica; can be given several times")
	f.DurationVar(&timeout, "timeout", notifications.DefaultTimeout, "of the work on one replica")
	if do.Change {
		f.BoolVar(&dry, "dry-run", false, "print what would be done, and change nothing")
	}
	_ = cmd.MarkFlagFilename("file", "yaml", "yml", "json")
	out.flag(cmd)
	return cmd
}

// checkCredentials refuses replicas whose credentials are not in the environment. Azure's account keys are for its blobs:
// its management takes none.
func (a *App) checkCredentials(g *config.Group, names []string) error {
	asked := *g
	asked.Replicas = nil
	for _, r := range g.Replicas {
		named := len(names) == 0
		for _, n := range names {
			named = named || n == r.Name
		}
		if !named || r.Provider == "azblob" {
			r.Credentials = ""
		}
		asked.Replicas = append(asked.Replicas, r) // in their places, which messages name
	}
	return config.CheckCredentials(&asked, a.LookupEnv) //nolint:wrapcheck // says "check environment"
}

// notificationsCode is the exit code: of what failed first, else of what can't work, else of what is to be done.
func notificationsCode(all []notifications.Outcome, dry, named bool) Code {
	code := OK
	for _, o := range all {
		switch o.Status {
		case notifications.Failed:
			return codeOf(o.Err)
		case notifications.RefusedStatus:
			code = Misconfigured
		case notifications.NotConfigured:
			if named {
				code = Misconfigured
			}
		case notifications.Lacking:
			if code == OK && !dry {
				code = Broken
			}
		case notifications.Set, notifications.Removed:
		}
	}
	return code
}

func notificationsTable(w io.Writer, all []notifications.Outcome, change bool) {
	row(w, "REPLICA", "STATUS", "KIND", "NAME", "STATE", "TO DO", "TARGET", "PREFIX")
	for _, o := range all {
		if len(o.Entries) == 0 {
			row(w, o.Replica, string(o.Status), "", "", "", "", "", "")
		}
		for _, e := range o.Entries {
			todo := string(e.Action)
			if e.Action == notifications.Keep {
				todo = ""
			}
			row(w, o.Replica, string(o.Status), e.Kind, visible(e.Name), string(e.State), todo, visible(e.Target), visible(e.Prefix+suffix(e.Suffix)))
		}
	}
	for _, o := range all {
		details(w, o, change)
	}
}

func suffix(s string) string {
	if s == "" {
		return ""
	}
	return "*" + s
}

// details are what does not fit into the table.
func details(w io.Writer, o notifications.Outcome, change bool) {
	done := map[notifications.Action]string{notifications.Add: "added", notifications.Change: "changed", notifications.RemoveEntry: "removed"}
	for _, e := range o.Done {
		fmt.Fprintf(w, "%s: %s the %s %s\n", o.Replica, done[e.Action], e.Kind, visible(e.Name))
		differences(w, o.Replica, e, "was")
	}
	for _, e := range o.Entries {
		if e.Action != notifications.Keep {
			differences(w, o.Replica, e, "is")
		}
	}
	for _, f := range o.Findings {
		fmt.Fprintf(w, "%s: %s: %s\n", o.Replica, f.Level, f)
	}
	if change && len(o.Done) == 0 && (o.Status == notifications.Set || o.Status == notifications.Removed) {
		fmt.Fprintf(w, "%s: nothing was to be done\n", o.Replica)
	}
}

func differences(w io.Writer, replica string, e notifications.Entry, verb string) {
	for _, d := range e.Differences {
		fmt.Fprintf(w, "%s: %s: %s %s %q, must be %q\n", replica, visible(e.Name), d.Field, verb, d.Have, d.Want)
	}
}

// credentials are the values of the replica's variables.
func (a *App) credentials(r config.Replica) []string {
	var values []string
	for _, name := range r.CredentialVariables() {
		values = append(values, a.env(name))
	}
	return values
}

// notificationProviders are the providers that can be set up.
func (a *App) notificationProviders() map[string]notifications.Opener {
	return map[string]notifications.Opener{"s3": a.openS3Notifications, "gcs": a.openGCSNotifications, "azblob": a.openAzureNotifications}
}
