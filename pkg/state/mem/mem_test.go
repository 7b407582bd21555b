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

func TestLedger(t *testing.T) {
	statetest.RunLedger(t, func(_ *testing.T, now func() time.Time) statetest.Books {
		s := mem.New(now)
		return statetest.Books{Store: s, Log: s.Audit(), Ledger: s.Ledger()}
	})
}

func BenchmarkCommit(b *testing.B) { statetest.BenchmarkCommit(b, mem.New(nil)) }
