package worker

import "context"

// Newest is newest, for tests.
var Newest = newest

// Tidy is tidy, for tests.
func (w *Worker) Tidy(ctx context.Context) error { return w.tidy(ctx) }

// ProbeCursor is where the last probe of a replica's bucket is remembered, for tests.
func (w *Worker) ProbeCursor(replica int) string { return probeCursor(w.replicas[replica]) }
