package postgres_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/audit/audittest"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/pkg/state/statetest"
)

// few connections per store: a server allows 100, and tests run side by side.
const few = 4

func TestMain(m *testing.M) {
	statetest.CrashChild(func(ctx context.Context, dsn string) (state.Store, error) {
		return postgres.Open(ctx, dsn, postgres.Options{MaxConns: few})
	})
	os.Exit(m.Run())
}

func open(t *testing.T, dsn string, o postgres.Options) *postgres.Store {
	t.Helper()
	o.MaxConns = few
	s, err := postgres.Open(t.Context(), dsn, o)
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
		return open(t, pgtest.Schema(t), postgres.Options{Now: now})
	})
	statetest.RunShared(t, func(t *testing.T) func() (state.Store, error) {
		dsn := pgtest.Schema(t)
		return func() (state.Store, error) {
			return postgres.Open(t.Context(), dsn, postgres.Options{Now: statetest.Frozen, MaxConns: few})
		}
	})
}

// TestWithoutPreparedStatements: behind a pooler that does not know them.
func TestWithoutPreparedStatements(t *testing.T) {
	statetest.Run(t, func(t *testing.T, now func() time.Time) state.Store {
		return open(t, pgtest.Schema(t)+"&default_query_exec_mode=exec", postgres.Options{Now: now})
	})
}

func TestLedger(t *testing.T) {
	statetest.RunLedger(t, func(t *testing.T, now func() time.Time) statetest.Books {
		s := open(t, pgtest.Schema(t), postgres.Options{Now: now})
		return statetest.Books{Store: s, Log: s.Audit(), Ledger: s.Ledger()}
	})
}

func TestCrash(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Schema(t)
	statetest.RunCrash(t, dsn, func() (state.Store, error) {
		return postgres.Open(t.Context(), dsn, postgres.Options{MaxConns: few})
	})
}

func TestAudit(t *testing.T) {
	audittest.Run(t, func(t *testing.T, now func() time.Time) audittest.Logs {
		dsn := pgtest.Schema(t)
		return audittest.Logs{
			Log:       open(t, dsn, postgres.Options{Now: now}).Audit(),
			Again:     func() audit.Log { return open(t, dsn, postgres.Options{Now: now}).Audit() },
			Exec:      func(query string) error { return pgtest.TryExec(t, dsn, query) },
			Unprotect: []string{`DROP TRIGGER bm_audit_append_only ON bm_audit`},
			Refused: []string{
				`TRUNCATE bm_audit`,
				`INSERT INTO bm_audit SELECT * FROM bm_audit WHERE seq = 1 ON CONFLICT (seq) DO UPDATE SET subject = 'other'`,
				`MERGE INTO bm_audit a USING (SELECT 1 AS seq) n ON a.seq = n.seq WHEN MATCHED THEN DELETE`,
			},
		}
	})
}

// TestErrors: the kind of each failure, and never a password.
func TestErrors(t *testing.T) {
	t.Parallel()
	const secret = "hunter2/secret"
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	server, err := url.Parse(pgtest.Schema(t))
	if err != nil {
		t.Fatal(err)
	}
	server.Path = "/no_such_database"
	server.User = url.UserPassword(server.User.Username(), secret)
	for name, c := range map[string]struct {
		dsn  string
		kind errkind.Kind
	}{
		"no url":           {"postgres://user:" + secret + "@host:port/db", errkind.Invalid},
		"a broken url":     {"postgres://user:" + secret + "%zz@127.0.0.1/db", errkind.Invalid},
		"a wrong setting":  {"user=u password='" + secret + "' port=many", errkind.Invalid},
		"nobody there":     {fmt.Sprintf("postgres://user:%s@127.0.0.1:1/db?sslmode=disable", url.QueryEscape(secret)), errkind.Unavailable},
		"nobody answers":   {fmt.Sprintf("postgres://user:%s@%s/db?sslmode=disable", url.QueryEscape(secret), silent.Addr()), errkind.Unavailable},
		"no such database": {server.String(), errkind.Unknown},
	} {
		_, err := postgres.Open(t.Context(), c.dsn, postgres.Options{Connect: 200 * time.Millisecond, Timeout: time.Second, Tries: 2})
		if !errkind.Is(err, c.kind) {
			t.Errorf("%s: error is %v, want kind %v", name, err, c.kind)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(fmt.Sprintf("%+v", err), "hunter2")) {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

// TestConnectionsLost: a server that ends all connections is not noticed by the next call that can be repeated.
func TestConnectionsLost(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Schema(t) + "&application_name=bm_lost"
	s := open(t, dsn, postgres.Options{})
	row := state.Row{Group: "g", Key: "k"}
	for range 5 {
		rev, err := s.Commit(t.Context(), row, state.Effects{})
		if err != nil && !errkind.Is(err, errkind.Unavailable) {
			t.Fatalf("error is %v, want none or kind unavailable", err)
		}
		if err != nil { // the outcome is open: the row tells
			if row, err = s.Get(t.Context(), "g", "k"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		row.Rev = rev
		pgtest.Exec(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bm_lost' AND pid <> pg_backend_pid()`)
	}
}

func BenchmarkCommit(b *testing.B) {
	s, err := postgres.Open(b.Context(), pgtest.Schema(b), postgres.Options{})
	if err != nil {
		b.Fatal(err)
	}
	statetest.BenchmarkCommit(b, s)
}

func BenchmarkLedger(b *testing.B) {
	statetest.BenchmarkLedger(b, func(b *testing.B) statetest.Books {
		b.Helper()
		s, err := postgres.Open(b.Context(), pgtest.Schema(b), postgres.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = s.Close() }) // it has no error
		return statetest.Books{Store: s, Log: s.Audit(), Ledger: s.Ledger()}
	})
}
