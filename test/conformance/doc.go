// Package conformance tells what becomes of an object on its way from one cloud to another. It holds tests alone: they write
// objects with the providers' plain SDKs, have the engine bring them to the other clouds, and read them there with the plain SDKs.
// docs/conformance.md has the table that TestConformance makes:
//
//	go test ./test/conformance -run TestConformance -update
//
// The servers are those of hack/test.sh; one that is missing fails the tests. Tests of this package share no buckets.
package conformance
