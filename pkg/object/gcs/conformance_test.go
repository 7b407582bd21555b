package gcs_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/drivertest"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs/gcsdoc"
)

// refused are the keys of the suite that GCS takes nowhere.
var refused = []string{"line\nbreak"}

// TestDocumented: the whole suite on a server that follows the documented API, versioned and not.
func TestDocumented(t *testing.T) {
	for name, versioned := range map[string]bool{"versioned": true, "unversioned": false} {
		t.Run(name, func(t *testing.T) {
			s := document(t, gcsdoc.Lies{})
			drivertest.Run(t, drivertest.Harness{
				Open:       func(t *testing.T) driver.Bucket { return open(t, s.url, s.bucket(versioned)) },
				Want:       native(versioned),
				UniqueTags: true, Generations: true, NoMarkers: true, RefusedKeys: refused,
			})
		})
	}
}

// fakeKeeps is what fake-gcs-server really promises: conditions of uploads, and none on compose, delete and rewrite. Reads are
// checked by the driver.
func fakeKeeps(versioned bool) driver.Capabilities {
	c := native(versioned)
	c.Level, c.CompleteGuard, c.DeleteGuard = driver.C0, driver.GuardNone, driver.GuardNone
	return c
}

// TestFakeGCSServer: the emulator as it is, with what it can't do asserted.
func TestFakeGCSServer(t *testing.T) {
	endpoint := fake(t)
	for name, versioned := range map[string]bool{"versioned": true, "unversioned": false} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{
				Open:       func(t *testing.T) driver.Bucket { return open(t, endpoint, makeBucket(t, endpoint, versioned)) },
				Want:       fakeKeeps(versioned),
				UniqueTags: true, Generations: true, NoMarkers: true, NoRequestIDs: true, RefusedKeys: refused,
			})
		})
	}
}
