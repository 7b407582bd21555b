// Package knative proves that a deployment on Knative works, from outside: users write to two buckets with their own tools, events go
// through Knative's own broker, and what becomes of them is seen in the buckets and asked of bucketmesh's command line. The
// same scenarios run on the lighter path (hack/knative-light.sh: Knative Eventing's data plane as processes) and on a cluster.
//
// What a scenario stops, kills and starts again it has done by a program of its caller's, so that it need not know whether that
// is a process or a pod. Users and the final judgment are those of test/e2e: every content that a server acknowledged must be
// current, overwritten by a user who had seen it, or kept.
//
// Filters are compared there, too: each Trigger of config/, and many tricky ones, must let through the same events in Knative's data
// plane and in the broker of bucketmesh up.
//
// Errors: a fault of the harness ends a run; what a scenario finds wrong is in its Result, and the exit code is 1.
//
// Concurrency: a run is used from one goroutine.
package knative
