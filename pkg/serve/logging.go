package serve

import (
	"context"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// NewLogger writes JSON lines with the name of the service, and with the trace of the context of a call if it has one.
// level is debug, info, warn or error; "" is info.
func NewLogger(w io.Writer, service, level string) (*slog.Logger, error) {
	var l slog.Level
	if level != "" {
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, errkind.New(errkind.Invalid, "log level %q: must be debug, info, warn or error: %w", level, err)
		}
	}
	return slog.New(traced{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})}).With("service", service), nil
}

// traced adds the ids of the trace to a record.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(a []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(a)} }
func (h traced) WithGroup(name string) slog.Handler   { return traced{h.Handler.WithGroup(name)} }
