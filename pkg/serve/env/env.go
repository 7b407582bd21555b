// Package env reads what services are told by environment variables: the group, the broker, who may send notifications.
//
// Errors are of kind errkind.Invalid and name the variable and what it must be, never its value; a document that is not there
// is NotFound.
//
// Concurrency: all functions may be called from many goroutines.
package env

import (
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

// Names of the variables.
const (
	Config    = "BUCKETMESH_CONFIG"         // path of the SyncGroup document
	State     = "BUCKETMESH_STATE"          // DSN of the PostgreSQL database
	Tokens    = "BUCKETMESH_WEBHOOK_TOKENS" // shared secrets of the senders of notifications, with commas between
	Topics    = "BUCKETMESH_SNS_TOPICS"     // ARNs of SNS topics that may send, with commas between
	SNSMaxAge = "BUCKETMESH_SNS_MAX_AGE"    // how old an SNS message may be, such as 1h, if not as old as SNS itself lets it become
	Broker    = "K_SINK"                    // URL of the broker; Knative sets it
	Overrides = "K_CE_OVERRIDES"            // Knative sets it
	Authority = "K_CA_CERTS"                // certificates that sign the broker's own, PEM, if it has TLS; Knative sets it
)

// Names of the variables that say which of Google's senders may send, each with a bearer token.
const (
	PushAudience = "BUCKETMESH_PUSH_AUDIENCE" // audience of the tokens of push subscriptions
	PushAccounts = "BUCKETMESH_PUSH_ACCOUNTS" // e-mail addresses of their service accounts, with commas between
	PushKeys     = "BUCKETMESH_PUSH_KEYS"     // URL of the keys that the tokens are verified with, if not Google's
)

// Names of the variables that say which of Azure's senders may send.
const (
	EntraTenant    = "BUCKETMESH_ENTRA_TENANT"    // id of the Microsoft Entra tenant whose tokens are taken
	EntraAudience  = "BUCKETMESH_ENTRA_AUDIENCE"  // audience of the tokens
	EntraApps      = "BUCKETMESH_ENTRA_APPS"      // ids of the applications that may send, with commas between, if not Event Grid
	EntraKeys      = "BUCKETMESH_ENTRA_KEYS"      // URL of the keys that the tokens are verified with, if not the tenant's
	WebhookOrigins = "BUCKETMESH_WEBHOOK_ORIGINS" // that may subscribe to CloudEvents, with commas between, if not Event Grid's
)

// Getenv is os.Getenv, or like it.
type Getenv func(name string) string

// Required is a variable that must be set; what says what it must be.
func Required(get Getenv, name, what string) (string, error) {
	v := get(name)
	if v == "" {
		return "", errkind.New(errkind.Invalid, "the environment variable %s is not set: it must be %s", name, what)
	}
	return v, nil
}

// Group reads the document that Config names.
func Group(get Getenv, opts config.Options) (*config.Group, error) {
	path, err := Required(get, Config, "the path of the SyncGroup document")
	if err != nil {
		return nil, err
	}
	g, err := config.LoadFile(path, opts)
	if errkind.Is(err, errkind.NotFound) {
		return nil, errkind.New(errkind.NotFound, "%w: $%s names it; in a cluster, make the ConfigMap bucketmesh-group with the document as group.yaml", err, Config)
	}
	return g, err //nolint:wrapcheck // names the file
}

// Sink is the broker that Broker names.
func Sink(get Getenv) (*serve.HTTPSink, error) {
	url, err := Required(get, Broker, "the URL of the broker, which a SinkBinding sets")
	if err != nil {
		return nil, err
	}
	return serve.NewHTTPSink(serve.SinkConfig{URL: url, Overrides: get(Overrides), Authority: get(Authority)}) //nolint:wrapcheck // says what is wrong
}

// StateWait is how long a service that starts waits for a database that does not answer. It is longer than a restart, and shorter than
// what a liveness probe allows (three times ten seconds): a pod that dies in between is started again later and later.
const StateWait = 20 * time.Second

// DSN is the database that State names.
func DSN(get Getenv) (string, error) {
	return Required(get, State, "the DSN of a PostgreSQL database, postgres://...")
}

// Duration is a positive length of time that the variable name holds, 0 if it is not set.
func Duration(get Getenv, name string) (time.Duration, error) {
	v := get(name)
	if v == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, errkind.New(errkind.Invalid, "the environment variable %s must be a positive length of time, such as 90m", name)
	}
	return d, nil
}

// List is a variable with commas between its values.
func List(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
