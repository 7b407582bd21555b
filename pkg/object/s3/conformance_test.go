package s3_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/drivertest"
)

// native is a server that keeps every condition.
func native(versioned bool) driver.Capabilities {
	return driver.Capabilities{
		Level: driver.C2, Versioned: versioned, PutMatch: driver.GuardNative, PutNotExist: driver.GuardNative,
		CompleteGuard: driver.GuardNative, DeleteGuard: driver.GuardNative, ReadMatch: driver.GuardNative,
	}
}

func conformance(t *testing.T, s server, h drivertest.Harness) {
	h.Open = func(t *testing.T) driver.Bucket { return s.open(t, s.bucket(t, h.Want.Versioned)) }
	h.NoNesting = true // MinIO stores a/b beside a, and doesn't list it; versitygw refuses it
	drivertest.Run(t, h)
}

// MinIO refuses keys that aren't clean paths; versitygw would store them under other names, so the bucket refuses them.
var unclean = []string{"a//b", "dots/../up", "dots/./here"}

// TestMinIOVersioned: a delete's condition is ignored; the driver looks below its delete marker instead.
func TestMinIOVersioned(t *testing.T) {
	want := native(true)
	want.DeleteGuard = driver.GuardMarker
	conformance(t, minio(t), drivertest.Harness{Want: want, SharedDeletes: true, RefusedKeys: unclean})
}

// TestMinIOUnversioned: a delete's condition is ignored and nothing can stand in: conditional deletes are refused.
func TestMinIOUnversioned(t *testing.T) {
	want := native(false)
	want.DeleteGuard, want.Level = driver.GuardNone, driver.C0
	conformance(t, minio(t), drivertest.Harness{Want: want, RefusedKeys: unclean})
}

// TestVersitygw keeps all conditions, and takes a delete of what is gone for a success. A directory can't hold bytes.
func TestVersitygw(t *testing.T) {
	want := native(false)
	want.KeysAsPaths = true
	conformance(t, versitygw(t), drivertest.Harness{Want: want, SharedDeletes: true, RefusedKeys: append([]string{"dir/"}, unclean...)})
}
