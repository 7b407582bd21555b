package worker

import "context"

// Newest is newest, for tests.
var Newest = newest

// Tidy is tidy, for tests.
func (w *Worker) Tidy(ctx context.Context) error { return w.tidy(ctx) }
