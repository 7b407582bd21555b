package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/audit/audittest"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/sqlite"
	"github.com/bucketmesh/bucketmesh/pkg/state/statetest"
)

func TestMain(m *testing.M) {
	statetest.CrashChild(func(ctx context.Context, path string) (state.Store, error) {
		return sqlite.Open(ctx, path, sqlite.Options{})
	})
	os.Exit(m.Run())
}

func file(t *testing.T) string { return filepath.Join(t.TempDir(), "a ?#%41 state.db") } // names a URI would misread

func open(t *testing.T, path string, o sqlite.Options) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	statetest.Run(t, func(t *testing.T, now func() time.Time) state.Store {
		return open(t, file(t), sqlite.Options{Now: now})
	})
	statetest.RunShared(t, func(t *testing.T) func() (state.Store, error) {
		path := file(t)
		return func() (state.Store, error) {
			return sqlite.Open(t.Context(), path, sqlite.Options{Now: statetest.Frozen})
		}
	})
}

func TestLedger(t *testing.T) {
	statetest.RunLedger(t, func(t *testing.T, now func() time.Time) statetest.Books {
		s := open(t, file(t), sqlite.Options{Now: now})
		return statetest.Books{Store: s, Log: s.Audit(), Ledger: s.Ledger()}
	})
}

func TestCrash(t *testing.T) {
	t.Parallel()
	path := file(t)
	statetest.RunCrash(t, path, func() (state.Store, error) { return sqlite.Open(t.Context(), path, sqlite.Options{}) })
}

func TestAudit(t *testing.T) {
	audittest.Run(t, func(t *testing.T, now func() time.Time) audittest.Logs {
		path := file(t)
		s := open(t, path, sqlite.Options{Now: now})
		raw, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Dir(path))+"/a%20%3F%23%2541%20state.db?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := raw.Close(); err != nil {
				t.Error(err)
			}
		})
		return audittest.Logs{
			Log:   s.Audit(),
			Again: func() audit.Log { return open(t, path, sqlite.Options{Now: now}).Audit() },
			Exec: func(query string) error {
				_, err := raw.ExecContext(t.Context(), query)
				return err
			},
			Unprotect: []string{`DROP TRIGGER bm_audit_no_update`, `DROP TRIGGER bm_audit_no_delete`, `DROP TRIGGER bm_audit_only_next`},
			Refused: []string{
				`INSERT OR REPLACE INTO bm_audit SELECT 1, 's', 'other', 't', '', 0, 0, x'7b7d', x'', x''`,
				`INSERT OR REPLACE INTO bm_audit SELECT 99, source, id, type, subject, time, recorded, event, prev, hash FROM bm_audit WHERE seq = 1`,
				`INSERT INTO bm_audit SELECT 99, 's', 'other', 't', '', 0, 0, x'7b7d', x'', x''`,
			},
		}
	})
}

func TestSynchronous(t *testing.T) {
	t.Parallel()
	s := open(t, file(t), sqlite.Options{Synchronous: sqlite.Full})
	if _, err := s.Commit(t.Context(), state.Row{Group: "g", Key: "k"}, state.Effects{}); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), file(t), sqlite.Options{Synchronous: "off"}); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("error is %v, want kind invalid", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	broken := file(t)
	if err := os.WriteFile(broken, []byte("this is no database, however long one looks at it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		kind errkind.Kind
	}{
		"a file of another kind":     {broken, errkind.Invalid},
		"a folder that is not there": {filepath.Join(t.TempDir(), "none", "state.db"), errkind.Unavailable},
	} {
		_, err := sqlite.Open(t.Context(), c.path, sqlite.Options{})
		if !errkind.Is(err, c.kind) {
			t.Errorf("%s: error is %v, want kind %v", name, err, c.kind)
		}
	}
}

// TestLockedByAnother: another process that never ends its transaction makes a commit fail, in bounded time and
// without having changed anything.
func TestLockedByAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := open(t, path, sqlite.Options{BusyTimeout: 20 * time.Millisecond, Tries: 2})
	raw, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	tx, err := raw.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	row := state.Row{Group: "g", Key: "k"}
	if _, err := s.Commit(t.Context(), row, state.Effects{}); !errkind.Is(err, errkind.Unavailable) {
		t.Fatalf("error is %v, want kind unavailable", err)
	}
	if got, err := s.Get(t.Context(), "g", "k"); err != nil || got.Rev != 0 { // readers go on
		t.Fatalf("row is %+v, error is %v", got, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), row, state.Effects{}); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCommit(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "state.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	statetest.BenchmarkCommit(b, s)
}

func BenchmarkLedger(b *testing.B) {
	statetest.BenchmarkLedger(b, func(b *testing.B) statetest.Books {
		b.Helper()
		s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "state.db"), sqlite.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() }) // the file goes anyway
		return statetest.Books{Store: s, Log: s.Audit(), Ledger: s.Ledger()}
	})
}
