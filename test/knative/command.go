package knative

import (
	"os"
	"time"

	"github.com/spf13/cobra"
)

// Command is the command line.
func Command() *cobra.Command {
	root := &cobra.Command{Use: "knative", Short: "Scenarios for a deployment on Knative", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(setupCommand(), runCommand(), filtersCommand(), manifestsCommand())
	return root
}

func setupCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "setup", Short: "Make the buckets, and write the group's document to DIR/group.yaml", Args: cobra.NoArgs,
		Long: "The servers are those of hack/servers.sh, whose `env` has to be in the environment.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := o.open(cmd.Context(), os.Getenv, false)
			return err
		},
	}
	o.common(c)
	return c
}

func runCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "run [SCENARIO...]", Short: "Run all scenarios, or those that are named, in their order", ValidArgs: scenarioNames(), Args: cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, only []string) error {
			return o.run(cmd.Context(), only, os.Getenv, os.Stdout, os.Stderr)
		},
	}
	o.common(c)
	f := c.Flags()
	f.StringVar(&o.normalizer, "normalizer", "", "URL of normalizer-s3, without /s3/NAME (required)")
	f.StringVar(&o.broker, "broker", "", "URL of the broker (required)")
	f.StringVar(&o.proxy, "proxy", "", "URL of an HTTP proxy that knows the cluster's names")
	f.StringVar(&o.dsn, "state", "", "DSN of the services' database (required)")
	f.StringVar(&o.control, "control", "", "program that is called with kill, stop or start and the name of a service, with broker or dispatcher (required)")
	f.StringSliceVar(&o.victims, "victims", []string{"normalizer-s3", "sync", "conflict-resolver", "audit"}, "who is killed under load")
	f.DurationVar(&o.first, "first-within", 15*time.Second, "how long the first change may take, from zero pods")
	f.Float64Var(&o.rate, "rate", 10, "puts per second under load")
	f.DurationVar(&o.over, "over", 2*time.Minute, "for how long there is load")
	f.DurationVar(&o.p99, "p99-within", time.Second, "what the 99th percentile of propagation must not exceed; 0 does not judge it")
	f.IntVar(&o.kills, "kills", 20, "how often somebody is killed under load")
	f.Float64Var(&o.killRate, "kill-rate", 20, "puts per second meanwhile")
	f.DurationVar(&o.killOver, "kill-over", 2*time.Minute, "for how long")
	f.DurationVar(&o.within, "converge-within", 3*time.Minute, "how long anything else may take")
	f.BoolVar(&o.cluster, "cluster", false, "it is a cluster: also the scenarios about pods, and the control program knows deploy, restart, pods and services")
	f.StringVar(&o.results, "results", "", "document that keeps the results, too")
	f.StringVar(&o.output, "output", "text", "text or json")
	return c
}

func filtersCommand() *cobra.Command {
	var o filterOptions
	c := &cobra.Command{
		Use: "filters", Short: "Compare the filters of the live data plane with those of bucketmesh up", Args: cobra.NoArgs,
		Long: "Makes a namespace with a Broker and a Trigger for each case, with kubectl as it is configured, posts a table of events, and\n" +
			"compares who got which event with what pkg/broker says. Knative's in-memory channel answers when all was delivered, so\n" +
			"nothing has to be waited for.",
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), os.Stdout) },
	}
	f := c.Flags()
	f.StringVar(&o.broker, "broker-of", "", "URL of the brokers' ingress, without the namespace (required)")
	f.StringVar(&o.proxy, "proxy", "", "URL of an HTTP proxy that knows the cluster's names")
	f.StringVar(&o.receiver, "receiver", "127.0.0.1:0", "host:port that subscribers listen on, as the cluster reaches it")
	f.StringVar(&o.kubectl, "kubectl", "kubectl", "the program kubectl")
	f.DurationVar(&o.within, "ready-within", time.Minute, "how long Broker and Triggers may take to be ready")
	return c
}

func manifestsCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "manifests", Short: "Print Broker and Triggers of config/ for a data plane without Knative Services", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printManifests(cmd.OutOrStdout(), dir) },
	}
	c.Flags().StringVar(&dir, "config", "config", "the folder with the manifests")
	return c
}
