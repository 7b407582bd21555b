package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// writer is the one connection that writes, and the queue before it.
type writer struct {
	db     *sql.DB
	conn   *sql.Conn
	tries  uint
	turn   chan struct{} // holds one token while somebody writes
	closed bool          // guarded by turn
}

// do runs fn in a transaction. The wait for the turn ends with ctx; the transaction does not.
func (w *writer) do(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil { // select would toss a coin
		return fmt.Errorf("wait for writer: %w", err)
	}
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for writer: %w", ctx.Err())
	}
	if w.closed {
		return errkind.New(errkind.Unavailable, "write state: the store is closed")
	}
	// A canceled statement would leave it open whether the transaction happened.
	quiet := context.WithoutCancel(ctx)
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := w.transaction(quiet, fn)
		if err != nil && !locked(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxTries(w.tries), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 5 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 4, MaxInterval: time.Second,
	}))
	return err
}

func (w *writer) transaction(ctx context.Context, fn func(ctx context.Context) error) error {
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn(ctx)
	if err == nil {
		_, err = w.conn.ExecContext(ctx, "COMMIT")
	}
	if err == nil {
		return nil
	}
	// After some failures SQLite has already rolled back, and says that there is no transaction: that is as good.
	_, _ = w.conn.ExecContext(ctx, "ROLLBACK")
	return err
}

func (w *writer) close() error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if w.closed {
		return nil
	}
	w.closed = true
	var err error
	if w.conn != nil {
		err = w.conn.Close()
	}
	return errors.Join(err, w.db.Close())
}

func code(err error) (int, bool) {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code() & 0xff, true // the low byte is the kind of an extended code
}

// locked reports whether err says that another process was in the way and nothing was changed.
func locked(err error) bool {
	c, ok := code(err)
	return ok && (c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED)
}

// classify gives err a kind, unless it has one.
func classify(what string, err error) error {
	var e *errkind.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	}
	kind := errkind.Of(err)
	if c, ok := code(err); ok {
		switch c {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
			sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
			kind = errkind.Unavailable
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
			kind = errkind.PermissionDenied
		case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOTADB:
			kind = errkind.Invalid
		case sqlite3.SQLITE_INTERRUPT:
			kind = errkind.Canceled
		}
	}
	if errors.Is(err, sql.ErrConnDone) {
		kind = errkind.Unavailable
	}
	return errkind.New(kind, "%s: %w", what, err)
}
