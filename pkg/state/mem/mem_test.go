package mem_test

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/state/statetest"
)

func TestStore(t *testing.T) {
	statetest.Run(t, func(_ *testing.T, now func() time.Time) state.Store { return mem.New(now) })
}

func BenchmarkCommit(b *testing.B) { statetest.BenchmarkCommit(b, mem.New(nil)) }
