// Package reconcile makes the replicas of one key the same. Package plan, below it, is pure: it takes a row and what the
// buckets answered and says what to do next. Engine does it, over Clock, Store and Bucket, so that production, the explorer
// and the simulator run the very same planner, and production and the simulator the very same engine.
//
// The algorithm and its numbered lines are described in docs/algorithm.md; comments here refer to those numbers.
//
// Errors: trouble with a bucket is never an error of Reconcile. It is written into the row and the dirty set, and the
// key is looked at again with back-off, so that one replica's outage holds up nobody. An error means that the state
// store failed, that the caller's context ended (kinds as the store gives them), or that another process is busy with
// the key (errkind.Conflict with a delay).
//
// Concurrency: an Engine may be used from many goroutines. Two calls for one key, in one process or in two, are safe:
// compare-and-set on the row decides. Leases on intents only save work.
package reconcile
