package object

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

type tracer struct {
	t       trace.Tracer
	replica string
}

// Trace is d with one OpenTelemetry span per call, named "bucket.<op>", with the replica, the key, the size of a sent
// body and, on failure, the error's kind. PreconditionFailed and NotFound are answers and not marked as errors.
func Trace(d driver.Bucket, t trace.Tracer, replica string) driver.Bucket {
	return intercept(d, &tracer{t: t, replica: replica})
}

func (t *tracer) around(ctx context.Context, k call, next func(context.Context) error) error {
	ctx, span := t.t.Start(ctx, "bucket."+string(k.op), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("bucketmesh.replica", t.replica),
		attribute.String("bucketmesh.key", k.key),
		attribute.Int64("bucketmesh.bytes", k.size),
		attribute.Bool("bucketmesh.guarded", k.guarded),
	))
	defer span.End()
	err := next(ctx)
	if err != nil {
		kind := errkind.Of(err)
		span.SetAttributes(attribute.String("bucketmesh.error.kind", kind.String()))
		if kind != errkind.PreconditionFailed && kind != errkind.NotFound {
			span.SetStatus(codes.Error, kind.String())
			span.RecordError(err)
		}
	}
	return err
}
