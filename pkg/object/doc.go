// Package object is the portable bucket: a concrete Bucket over a driver.Bucket that checks input and names errors,
// decorators that are driver.Buckets themselves (WithPrefix, Retry, Limit, Count, Fault, Trace), and Probe, which finds
// out what a bucket really promises, with Fit, which says whether that is enough for a replica.
//
// Order of decorators, from the inside out: driver, Count (every request that leaves), Limit, Retry, Trace, WithPrefix,
// and New at the outside.
//
// Errors: the kinds of package driver pass through unchanged; Bucket adds "verb noun" once. Input that can never work
// is errkind.Invalid and costs no request.
//
// Concurrency: everything here may be used from many goroutines.
package object
