package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Telemetry is where measurements and traces go. Make one with NewTelemetry or NoTelemetry.
type Telemetry struct {
	Tracer     trace.TracerProvider
	Meter      metric.MeterProvider
	Propagator propagation.TextMapPropagator // of trace context in HTTP headers

	// MetricsAddr is where Prometheus' exposition listens; nil if it doesn't.
	MetricsAddr net.Addr

	shutdown []func(context.Context) error
}

// TelemetryConfig of NewTelemetry.
type TelemetryConfig struct {
	Service, Version string

	// OTLP exports both over OTLP/HTTP, as the standard OTEL_EXPORTER_OTLP_* variables say.
	OTLP bool
	// MetricsAddr, host:port, exposes measurements to Prometheus at /metrics; "" doesn't. The ports of Knative's queue proxy
	// (9090 among them) are refused.
	MetricsAddr string

	Logger *slog.Logger // discarded if nil
}

// NoTelemetry measures nothing, but passes the trace context of a request on.
func NoTelemetry() *Telemetry {
	return &Telemetry{
		Tracer:     nooptrace.NewTracerProvider(),
		Meter:      noopmetric.NewMeterProvider(),
		Propagator: propagation.TraceContext{},
	}
}

// NewTelemetry makes providers for what is configured. An OTLP endpoint that can't be reached is no error, now or later.
func NewTelemetry(ctx context.Context, cfg TelemetryConfig) (*Telemetry, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := NoTelemetry()
	if !cfg.OTLP && cfg.MetricsAddr == "" {
		return t, nil
	}
	if p := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); cfg.OTLP && p != "" && p != "http/protobuf" {
		return nil, errkind.New(errkind.Invalid, "OTEL_EXPORTER_OTLP_PROTOCOL %q: only http/protobuf is built in (port 4318, usually)", p)
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Version)),
		resource.WithFromEnv()) // last: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "describe service: %w", err)
	}
	metrics := []sdkmetric.Option{sdkmetric.WithResource(res)}
	if cfg.OTLP {
		spans, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, errkind.New(errkind.Invalid, "create trace exporter: %w", err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(spans),
			sdktrace.WithRawSpanLimits(spanLimits()))
		t.Tracer = provider
		t.shutdown = append(t.shutdown, provider.Shutdown)
		points, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, errors.Join(errkind.New(errkind.Invalid, "create metric exporter: %w", err), t.Shutdown(ctx))
		}
		metrics = append(metrics, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(points)))
	}
	if cfg.MetricsAddr != "" {
		reader, err := t.expose(ctx, cfg)
		if err != nil {
			return nil, errors.Join(err, t.Shutdown(ctx))
		}
		metrics = append(metrics, sdkmetric.WithReader(reader))
	}
	provider := sdkmetric.NewMeterProvider(metrics...)
	t.Meter = provider
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return t, nil
}

// maxAttribute is the length of an attribute of a span that is kept. A span has what a stranger wrote (User-Agent, the path),
// up to a megabyte, and thousands of spans wait to be exported.
const maxAttribute = 4 << 10

// spanLimits are OpenTelemetry's, from its variables too, with a bound where it has none.
func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxAttribute
	}
	return limits
}

// expose serves Prometheus' format from a registry of its own.
func (t *Telemetry) expose(ctx context.Context, cfg TelemetryConfig) (sdkmetric.Reader, error) {
	if err := checkPort(cfg.MetricsAddr); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "create prometheus exporter: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.MetricsAddr)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "listen for metrics on %s: %w", cfg.MetricsAddr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("serve metrics", "error", err)
		}
	}()
	t.MetricsAddr = listener.Addr()
	t.shutdown = append(t.shutdown, server.Shutdown)
	return reader, nil
}

// Shutdown sends what is left, within ctx, and ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, f := range t.shutdown {
		errs = append(errs, f(ctx))
	}
	t.shutdown = nil
	if err := errors.Join(errs...); err != nil {
		return errkind.New(errkind.Unavailable, "shut telemetry down: %w", err)
	}
	return nil
}
