package pipeline

import (
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// Options of Start and Inspect. Group and DataDir are required; the rest has defaults.
type Options struct {
	Group   *config.Group
	DataDir string // state, events, lock and control socket; made if it is not there

	Listen    string        // host:port for notifications; "" takes none, from queues neither; port 0 takes a free one
	Tokens    []string      // shared secrets of the senders of notifications; without any, and without topics, push accounts and an Entra tenant, only loopback is listened on
	Topics    []string      // ARNs of SNS topics that may send
	SNSMaxAge time.Duration // how old their messages may be; 0 is s3.DefaultMaxAge of pkg/normalize
	Push      receive.Push  // which of Google's senders may send

	Entra   receive.Entra // which of Azure's senders may send
	Origins []string      // that may subscribe to Azure's CloudEvents; none is Event Grid's own

	State string // DSN of a PostgreSQL database, postgres://...; "" is SQLite in DataDir
	NATS  string // URL of an outside NATS server with JetStream, nats://...; "" is the embedded one in DataDir

	Openers   worker.Openers              // by provider; worker.AllOpeners
	LookupEnv func(string) (string, bool) // for credentials; os.LookupEnv
	Logger    *slog.Logger                // discarded if nil
	Telemetry *serve.Telemetry            // none if nil
	Probe     object.ProbeOptions

	Trace func(reconcile.Point) // told of every step of the engine, for tests; nothing if nil
	Lease time.Duration         // of an intent for a small object; the engine's default if 0

	QuietPeriod  time.Duration // Close: ends listening when no notification came for this long; 100 ms
	DrainTimeout time.Duration // Close: for the handlers that run; 20 s

	between func(name string, h subscriber.Handler) subscriber.Handler // stands between a trigger and its subscriber; only tests set it
}

func (o *Options) defaults() error {
	if o.Group == nil || o.DataDir == "" {
		return errkind.New(errkind.Invalid, "start pipeline: group and data directory are required")
	}
	if o.Openers == nil {
		o.Openers = Openers()
	}
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Telemetry == nil {
		o.Telemetry = serve.NoTelemetry()
	}
	if o.QuietPeriod <= 0 {
		o.QuietPeriod = 100 * time.Millisecond
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 20 * time.Second
	}
	return nil
}

// Openers are the providers that the one-process mode is built with.
func Openers() worker.Openers { return worker.AllOpeners() }

// open says whether notifications are taken from anybody. Who names topics or accounts wants to hear from
// those, not from everybody.
func (o *Options) open() bool {
	return len(o.Tokens) == 0 && len(o.Topics) == 0 && len(o.Push.Accounts) == 0 && o.Push.Audience == "" && !o.Entra.Set()
}

// ListenHost is the host of an address to listen on, which must be host:port; "" is every address of the machine. The
// error is Invalid.
func ListenHost(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", errkind.New(errkind.Invalid, "listen on %q: must be host:port, such as 127.0.0.1:9900: %w", listen, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errkind.New(errkind.Invalid, "listen on %q: the port must be a number from 0 to 65535", listen)
	}
	return host, nil
}

// checkListen refuses to take notifications from the network without a secret: whoever can post one can make every replica
// be read.
func (o *Options) checkListen() error {
	if o.Listen == "" {
		return nil
	}
	host, err := ListenHost(o.Listen)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if !o.open() || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errkind.New(errkind.Invalid, "listen on %q: anybody could send notifications there; set BUCKETMESH_WEBHOOK_TOKENS, "+
		"or listen on 127.0.0.1", o.Listen)
}
