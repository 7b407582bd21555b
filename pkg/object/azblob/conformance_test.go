package azblob_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/drivertest"
)

// native is a server that keeps every condition, with tags that name writes.
func native() driver.Capabilities {
	return driver.Capabilities{
		Level: driver.C3, PutMatch: driver.GuardNative, PutNotExist: driver.GuardNative,
		CompleteGuard: driver.GuardNative, DeleteGuard: driver.GuardNative, ReadMatch: driver.GuardNative,
	}
}

// refused are keys that no blob can have: the driver refuses them before anything is sent.
func refused() []string {
	return []string{"line\nbreak", "tab\tkey", "back\\slash", "dots/../up", "dots/./here"}
}

// TestAzurite: all conditions, unique tags, no versions.
func TestAzurite(t *testing.T) {
	s := azurite(t)
	drivertest.Run(t, drivertest.Harness{
		Open:        func(t *testing.T) driver.Bucket { return s.open(t, s.container(t)) },
		Want:        native(),
		UniqueTags:  true,
		RefusedKeys: refused(),
	})
}

// TestDocumentedVersions is an account with versioning, as the documents describe one: Azurite has none.
func TestDocumentedVersions(t *testing.T) {
	want := native()
	want.Versioned = true
	drivertest.Run(t, drivertest.Harness{
		Open: func(t *testing.T) driver.Bucket {
			s, name := documented(t)
			return s.open(t, name)
		},
		Want:        want,
		UniqueTags:  true,
		NoMarkers:   true,
		RefusedKeys: refused(),
	})
}
