// Package migrations brings a database to the schema that this program needs: SQL files, embedded, one folder per
// dialect, applied in the order of their numbers and each in a transaction of its own.
//
// A migration that was released is never changed; a new one is added. Migrations only add while an older program may
// still run against the same database.
//
// Errors are those of goose and of the database, without a kind: the stores classify them.
//
// Concurrency: Postgres may be called by many processes at once, one of them does the work and the others wait. SQLite
// must be called under a lock of the caller, which package sqlite holds.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

const (
	versionTable = "bm_migrations"
	lockTable    = "bm_migrations_lock"
	lease        = 30 * time.Second // a process that died while it migrated holds the others up for this long
	heartbeat    = 5 * time.Second
	poll         = 100 * time.Millisecond
)

// SQLite migrates a SQLite database.
func SQLite(ctx context.Context, db *sql.DB) error {
	return up(ctx, goose.DialectSQLite3, db, "sqlite")
}

// Postgres migrates the schema that is first in the search path. wait bounds how long it waits for another process
// that migrates. The lock is a row with a lease and not an advisory lock of the session, which a connection pooler in
// transaction mode would hand to somebody else.
func Postgres(ctx context.Context, db *sql.DB, wait time.Duration) error {
	tries := uint64(max(wait/poll, 1))
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName(lockTable),
		lock.WithTableLeaseDuration(lease),
		lock.WithTableHeartbeatInterval(heartbeat),
		lock.WithTableLockTimeout(poll, tries),
		lock.WithTableUnlockTimeout(poll, tries),
		lock.WithTableLogger(slog.New(slog.DiscardHandler)), // what matters comes back as an error
	)
	if err != nil {
		return fmt.Errorf("make migration lock: %w", err)
	}
	return up(ctx, goose.DialectPostgres, db, "postgres", goose.WithLocker(locker))
}

func up(ctx context.Context, dialect goose.Dialect, db *sql.DB, folder string, opts ...goose.ProviderOption) error {
	sub, err := fs.Sub(files, folder)
	if err != nil {
		return fmt.Errorf("open migrations: %w", err)
	}
	opts = append(opts, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)))
	p, err := goose.NewProvider(dialect, db, sub, opts...)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("apply migrations: %w", err)
	}
	return nil
}
