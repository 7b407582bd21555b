// Package serve is the HTTP runtime of every service: it reads events, bounds what a sender can take, turns the kind of
// an error into the answer that makes a broker do the right thing, is observed, and drains on SIGTERM. It also holds Sink,
// the way out to a broker over HTTP.
//
// A service is a Handler, or an http.Handler of its own, given to Main or Run. What the package needs is handed in; it
// sets no global, OpenTelemetry's included. Only Config.Background runs beside requests.
//
// Errors have the kinds of package errkind; see Answer for how they are answered and HTTPSink for how answers are
// understood.
//
// Concurrency: everything here may be used from many goroutines; a Handler must allow that too.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"knative.dev/pkg/network/handlers"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Defaults of a Config.
const (
	DefaultAddr         = ":8080"
	DefaultQuietPeriod  = time.Second // in a Knative Service, SIGTERM comes after the queue proxy has drained
	DefaultDrainTimeout = 30 * time.Second

	readHeaderTimeout = 10 * time.Second
	readTimeout       = time.Minute // of a whole request; bodies are small
	idleTimeout       = 2 * time.Minute
	checkTimeout      = 3 * time.Second
	flushTimeout      = 5 * time.Second
)

// Paths that the runtime answers itself.
const (
	LivePath  = "/healthz" // the process runs: no look at anything else
	ReadyPath = "/readyz"  // the checks pass, and it does not drain
)

// reserved ports belong to Knative's queue proxy, which shares the network of the service.
var reserved = []int{8012, 8013, 8022, 8112, 9090, 9091}

// Check says whether something that the service needs is there. Name is shown to who asks for readiness, the error is only
// logged.
type Check struct {
	Name string
	Do   func(ctx context.Context) error
}

// Config of Run. The zero value of a field is its default.
type Config struct {
	Name     string // of the service, in traces and logs
	Addr     string // host:port to listen on
	Listener net.Listener
	OnListen func(net.Addr)
	Handler  http.Handler // required
	Public   bool         // strangers reach it: their trace is linked to ours, and has no say in what is sampled
	Ready    []Check
	// Background is work beside requests. When it ends before ctx does, so does the service, and that is an error unless it is
	// ErrReplace.
	Background   func(ctx context.Context) error
	QuietPeriod  time.Duration // after SIGTERM: ends listening when no request came for this long
	DrainTimeout time.Duration // after SIGTERM: for all of it; then requests that still run are canceled
	Logger       *slog.Logger  // discarded if nil
	Telemetry    *Telemetry    // none if nil
}

// Run serves until ctx is done, or the Background ends by itself, then drains: readiness fails, requests are still taken until
// none came for QuietPeriod, or a third of DrainTimeout is over, then new ones are refused and those under way are finished. It
// returns nil if all of them were, within DrainTimeout, and so was the Background, whose ctx is the same; and if it was ctx that
// ended it, or ErrReplace.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Handler == nil {
		return errkind.New(errkind.Invalid, "serve %s: no handler", cfg.Name)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Telemetry == nil {
		cfg.Telemetry = NoTelemetry()
	}
	setDefault(&cfg.Addr, DefaultAddr)
	setDefault(&cfg.QuietPeriod, DefaultQuietPeriod)
	setDefault(&cfg.DrainTimeout, DefaultDrainTimeout)
	listener := cfg.Listener
	if listener == nil {
		if err := checkPort(cfg.Addr); err != nil {
			return err
		}
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Addr); err != nil {
			return errkind.New(errkind.Invalid, "listen on %s: %w", cfg.Addr, err)
		}
	}

	drainer := &handlers.Drainer{
		Inner: otelhttp.NewHandler(cfg.Handler, cfg.Name,
			otelhttp.WithPublicEndpointFn(func(*http.Request) bool { return cfg.Public }),
			otelhttp.WithServerName(listener.Addr().String()), // else what a stranger has in Host becomes a time series
			otelhttp.WithTracerProvider(cfg.Telemetry.Tracer),
			otelhttp.WithMeterProvider(cfg.Telemetry.Meter),
			otelhttp.WithPropagators(cfg.Telemetry.Propagator)),
		QuietPeriod: cfg.QuietPeriod,
	}
	var draining atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc(LivePath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.Handle(ReadyPath, readiness(cfg, &draining))
	mux.Handle("/", drainer)

	// Requests outlive ctx: they are what draining is for.
	requests, cancelRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelRequests(nil)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	background := begin(ctx, cfg.Background)
	cfg.Logger.Info("serving", "address", listener.Addr().String())
	if cfg.OnListen != nil {
		cfg.OnListen(listener.Addr())
	}

	var why error // of an end that nobody asked for
	select {
	case err := <-served:
		return errkind.New(errkind.Unavailable, "serve %s: %w", cfg.Name, err)
	case err := <-background:
		if ctx.Err() == nil {
			if !errors.Is(err, ErrReplace) {
				why = ended(cfg.Name, err)
				cfg.Logger.Error("the work beside requests ended", "error", why)
			}
			err = nil
		}
		background <- err
	case <-ctx.Done():
	}

	cfg.Logger.Info("draining")
	start := time.Now()
	draining.Store(true)
	server.SetKeepAlivesEnabled(false)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancel()
	quiet := make(chan struct{})
	go func() {
		drainer.Drain()
		close(quiet)
	}()
	busy := time.NewTimer(cfg.DrainTimeout / 3)
	defer busy.Stop()
	select {
	case <-quiet:
	case <-busy.C: // requests never ceased to come
		drainer.Reset()
		<-quiet
	}
	if err := server.Shutdown(limit); err != nil {
		cancelRequests(errDrain)
		return errors.Join(why, errkind.New(errkind.Canceled, "drain %s: %w", cfg.Name, errors.Join(errDrain, server.Close())))
	}
	select {
	case err := <-background:
		if err != nil && !errors.Is(err, ErrReplace) {
			return fmt.Errorf("end %s: %w", cfg.Name, err)
		}
	case <-limit.Done():
		return errkind.New(errkind.Canceled, "drain %s: the work beside requests did not end within %s", cfg.Name, cfg.DrainTimeout)
	}
	cfg.Logger.Info("drained", "duration", time.Since(start))
	return why
}

// ErrReplace is what a Background returns when all is well, but another process has to take this one's place. Whoever runs services
// starts it; this one ends with success.
var ErrReplace = errors.New("another process has to take the place of this one")

// begin runs do, if there is one; the channel has what it returned.
func begin(ctx context.Context, do func(context.Context) error) chan error {
	done := make(chan error, 1)
	if do == nil {
		context.AfterFunc(ctx, func() { done <- nil })
		return done
	}
	go func() { done <- do(ctx) }()
	return done
}

// ended is why a service ends that nobody told to.
func ended(name string, err error) error {
	if err == nil {
		return errkind.New(errkind.Unavailable, "run %s: it ended by itself", name)
	}
	return fmt.Errorf("run %s: %w", name, err)
}

var errDrain = errors.New("requests under way were canceled, the time for draining is over")

// readiness answers whether requests should be sent here.
func readiness(cfg Config, draining *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		for _, c := range cfg.Ready {
			if err := c.Do(ctx); err != nil {
				cfg.Logger.WarnContext(ctx, "not ready", "check", c.Name, "error", err)
				http.Error(w, "not ready: "+c.Name, http.StatusServiceUnavailable)
				return
			}
		}
		w.WriteHeader(http.StatusOK)
	})
}

// checkPort refuses the ports of Knative's queue proxy, where the failure would be a puzzle.
func checkPort(addr string) error {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return errkind.New(errkind.Invalid, "listen on %q: must be host:port: %w", addr, err)
	}
	if port, err := strconv.Atoi(text); err == nil && slices.Contains(reserved, port) {
		return errkind.New(errkind.Invalid, "listen on %q: port %d belongs to Knative's queue proxy; take another one", addr, port)
	}
	return nil
}

// Runtime is what Main hands to a service.
type Runtime struct {
	Logger    *slog.Logger
	Telemetry *Telemetry
	Getenv    func(string) string
}

// Main is the life of a service program: it sets up logging and telemetry from the environment (LOG_LEVEL, PORT,
// METRICS_ADDR, OTEL_*), has build make the service, and runs it until SIGTERM or an interrupt. A second signal ends the
// process at once. It returns the exit code. build may set what it likes in the Config; the rest is filled in.
func Main(name, version string, build func(ctx context.Context, rt Runtime) (Config, error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // gives the second signal its usual meaning back
	log, err := NewLogger(os.Stderr, name, os.Getenv("LOG_LEVEL"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := runMain(ctx, name, version, log, build); err != nil {
		log.Error("service failed", "error", err, "kind", errkind.Of(err).String())
		return 1
	}
	return 0
}

func runMain(ctx context.Context, name, version string, log *slog.Logger, build func(context.Context, Runtime) (Config, error)) (err error) {
	telemetry, err := NewTelemetry(ctx, TelemetryConfig{
		Service: name, Version: version, MetricsAddr: os.Getenv("METRICS_ADDR"), Logger: log,
		OTLP: os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "",
	})
	if err != nil {
		return err
	}
	defer func() {
		// ctx is done by now, and what was measured last is what matters.
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		err = errors.Join(err, telemetry.Shutdown(flush))
	}()
	cfg, err := build(ctx, Runtime{Logger: log, Telemetry: telemetry, Getenv: os.Getenv})
	if err != nil {
		return err
	}
	setDefault(&cfg.Name, name)
	setDefault(&cfg.Logger, log)
	setDefault(&cfg.Telemetry, telemetry)
	if port := os.Getenv("PORT"); port != "" && cfg.Addr == "" {
		cfg.Addr = ":" + port
	}
	return Run(ctx, cfg)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
