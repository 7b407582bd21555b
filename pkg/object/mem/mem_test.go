package mem_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/drivertest"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
)

// TestConformance runs the suite on every kind of bucket that mem can model, liars included. What New says of itself has
// to be what the probe finds.
func TestConformance(t *testing.T) {
	for name, cfg := range map[string]mem.Config{
		"S3":                 {},
		"S3 versioned":       {Versioned: true},
		"GCS or Azure":       {UniqueTags: true, Versioned: true},
		"GCS":                {UniqueTags: true, Generations: true},
		"GCS versioned":      {UniqueTags: true, Generations: true, Versioned: true},
		"fake GCS":           {UniqueTags: true, Generations: true, Lies: mem.Lies{IgnoreComplete: true, IgnoreDelete: true}},
		"fake GCS versioned": {UniqueTags: true, Generations: true, Versioned: true, Lies: mem.Lies{IgnoreComplete: true, IgnoreDelete: true}},
		"MinIO":              {Lies: mem.Lies{IgnoreDelete: true}},
		"markers pile up":    {Versioned: true, Lies: mem.Lies{IgnoreDelete: true}},
		"MinIO versioned":    {Versioned: true, Lies: mem.Lies{IgnoreDelete: true, ReuseMarker: true}},
		"no conditions":      {Lies: mem.Lies{IgnorePutMatch: true, IgnorePutNotExist: true, IgnoreComplete: true, IgnoreDelete: true}},
		"versions only":      {Versioned: true, Lies: mem.Lies{IgnorePutMatch: true, IgnorePutNotExist: true, IgnoreComplete: true, IgnoreDelete: true}},
		"ignores on finish":  {Lies: mem.Lies{IgnoreComplete: true}},
		"ignores put match":  {UniqueTags: true, Lies: mem.Lies{IgnorePutMatch: true}},
		"ignores put create": {UniqueTags: true, Lies: mem.Lies{IgnorePutNotExist: true}},
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, drivertest.Harness{
				Open: func(*testing.T) driver.Bucket { return mem.New(cfg) },
				Want: mem.New(cfg).Capabilities(), UniqueTags: cfg.UniqueTags, SharedDeletes: cfg.Lies.ReuseMarker,
				Generations: cfg.Generations, NoMarkers: cfg.Generations,
			})
		})
	}
}
