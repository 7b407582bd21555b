package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
)

// Reference is docs/cli.md: every command with its flags, and the exit codes.
func Reference() string {
	var b strings.Builder
	b.WriteString("# The command line\n\n<!-- Generated from the commands by go test ./pkg/cli -run TestReference -update; do not edit. -->\n\n" +
		"Results are printed on standard output, everything else on standard error. Where a table is printed, `--output json`\n" +
		"prints the same as JSON, whose fields are stable. Shell completion: `bucketmesh completion --help`.\n\n" +
		"## Exit codes\n\n| Code | Meaning |\n|---|---|\n")
	for code, text := range meaning {
		fmt.Fprintf(&b, "| %d | %s |\n", code, text)
	}
	b.WriteString("\n## Environment\n\n| Variable | Meaning |\n|---|---|\n")
	for _, v := range environment {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v[0], v[1])
	}
	root := (&App{}).Root()
	fmt.Fprintf(&b, "\n## Flags of every command\n\n%s", flagTable(root.PersistentFlags()))
	for _, c := range root.Commands() {
		reference(&b, c)
	}
	return b.String()
}

// environment is what commands read beside what the document names.
var environment = [][2]string{
	{"BUCKETMESH_<CREDENTIALS>_ACCESS_KEY_ID", "with the parameter `credentials` of a replica's s3:// URL in upper case: its access key"},
	{"BUCKETMESH_<CREDENTIALS>_SECRET_ACCESS_KEY", "the same: its secret key"},
	{"BUCKETMESH_<CREDENTIALS>_CREDENTIALS_FILE", "the same for gs://: path of its credentials file"},
	{"BUCKETMESH_<CREDENTIALS>_ACCOUNT_KEY", "the same for azblob://: key of its storage account"},
	{"BUCKETMESH_WEBHOOK_TOKENS", "shared secrets of the senders of notifications, with commas between; several, so that they can be rotated"},
	{"BUCKETMESH_SNS_TOPICS", "ARNs of SNS topics whose messages are taken, with commas between"},
	{"BUCKETMESH_SNS_MAX_AGE", "how old an SNS message may be, such as 90m; older ones are replays and are refused (default 1h, as long as SNS tries)"},
	{"BUCKETMESH_PUSH_AUDIENCE", "audience of the bearer tokens of Google's senders (push subscriptions of Pub/Sub, Eventarc)"},
	{"BUCKETMESH_PUSH_ACCOUNTS", "e-mail addresses of the service accounts that may send, with commas between"},
	{"BUCKETMESH_PUSH_KEYS", "URL of the keys that the tokens are verified with, if not Google's"},
	{"BUCKETMESH_ENTRA_TENANT", "id of the Microsoft Entra tenant whose bearer tokens are taken with Azure's notifications"},
	{"BUCKETMESH_ENTRA_AUDIENCE", "audience of those tokens: the application id that the event subscriptions have"},
	{"BUCKETMESH_ENTRA_APPS", "ids of the applications that may send, with commas between, if not Event Grid's own (" + azure.EventGridApp + ")"},
	{"BUCKETMESH_ENTRA_KEYS", "URL of the keys that the tokens are verified with, if not the tenant's"},
	{"BUCKETMESH_WEBHOOK_ORIGINS", "origins that may subscribe to CloudEvents, with commas between, if not " + azure.DefaultOrigin},
	{"BUCKETMESH_STATE", "PostgreSQL database for the state, if `--state` is not given; one database (or schema) for each group that runs as one process"},
	{"BUCKETMESH_NATS", "NATS server for the events, if `--nats` is not given"},
	{"METRICS_ADDR", "host:port to expose Prometheus metrics at, path /metrics"},
	{"OTEL_EXPORTER_OTLP_ENDPOINT", "and the other OTEL_* variables: where traces and metrics are sent (OTLP over HTTP)"},
	{"GOMEMLIMIT", "memory that the process tries to stay below; 150MiB if it is not set"},
}

func reference(b *strings.Builder, c *cobra.Command) {
	if c.Name() == "help" || c.Name() == "completion" || c.Hidden {
		return
	}
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(b, "\n## %s\n\n    %s\n\n%s\n", c.CommandPath(), c.UseLine(), text)
	if c.HasLocalFlags() && c.Runnable() && !c.HasSubCommands() {
		fmt.Fprintf(b, "\n%s", flagTable(c.LocalNonPersistentFlags()))
	}
	for _, sub := range c.Commands() {
		reference(b, sub)
	}
}

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("| Flag | Default | Meaning |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def := ""
		if f.DefValue != "" {
			def = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, def, strings.ReplaceAll(f.Usage, "|", `\|`))
	})
	return b.String()
}
