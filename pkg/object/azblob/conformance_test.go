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

// TestAzurite: all conditions, unique tags, no versions.
func TestAzurite(t *testing.T) {
	s := azurite(t)
	drivertest.Run(t, drivertest.Harness{
		Open:        func(t *testing.T) driver.Bucket { return s.open(t, s.container(t)) },
		Want:        native(),
		UniqueTags:  true,
		RefusedKeys: []string{"line\nbreak", "tab\tkey", "back\\slash", "dots/../up", "dots/./here"},
	})
}
