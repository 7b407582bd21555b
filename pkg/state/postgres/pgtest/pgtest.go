// Package pgtest gives tests a schema of their own in a real PostgreSQL.
//
// Failures are reported by testing.TB; a missing server is one of them.
package pgtest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Env is the environment variable with the DSN of a server, as a URL, whose user may create schemas.
const Env = "BUCKETMESH_TEST_POSTGRES"

// Schema makes an empty schema that is dropped when the test ends, and returns a DSN with it as the search path.
func Schema(t testing.TB) (dsn string) {
	t.Helper()
	base := os.Getenv(Env)
	if base == "" {
		t.Fatalf("%s is not set: this test needs a PostgreSQL server. Run hack/test.sh, which starts one.", Env)
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme == "" {
		t.Fatalf("%s is not a URL like postgres://user@host:port/database", Env)
	}
	schema := "bm_" + strings.ToLower(rand.Text())
	Exec(t, base, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { Exec(t, base, "DROP SCHEMA "+schema+" CASCADE") })
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

// Exec runs SQL over a connection of its own, beside the store under test.
func Exec(t testing.TB, dsn, sql string, args ...any) {
	t.Helper()
	if err := TryExec(t, dsn, sql, args...); err != nil {
		t.Fatal(err)
	}
}

// TryExec is Exec for statements that may fail.
func TryExec(t testing.TB, dsn, sql string, args ...any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute) // cleanups run after the test's context
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connect to the PostgreSQL of %s: %v. Run hack/test.sh, which starts one.", Env, err)
	}
	defer func() {
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	_, err = conn.Exec(ctx, sql, args...)
	return err
}
