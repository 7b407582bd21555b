// Package postgres keeps the state in PostgreSQL (14 and later): the store of the services, shared by all instances.
//
// Almost every call is one statement and one round trip, also a Commit with all its effects; only creating a row takes
// two statements, sent together as one implicit transaction. Nothing holds a session: no session advisory locks, no
// temporary tables, no LISTEN, so that a pooler in transaction mode may stand in between. pgx prepares statements; for
// a pooler that does not know them, add default_query_exec_mode=exec to the DSN.
//
// Tables are made in the schema that is first in the search path (search_path=... in the DSN).
//
// Errors: as in package state. A lost connection, a server that shuts down and a deadline are Unavailable. No error
// holds the DSN or its password.
//
// Concurrency: all methods may be called from many goroutines and processes. The order of the outbox is that of the
// commits of each key, and of any two commits of which one ended before the other began.
package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/migrations"
)

// Options of Open. The zero value is good for use.
type Options struct {
	Now         func() time.Time // clock that revisions follow; nil is time.Now
	MaxConns    int32            // connections of the pool; 0 is the DSN's pool_max_conns, or pgx's own choice
	Timeout     time.Duration    // of one call, waiting for a connection included; 0 is 30 s
	Connect     time.Duration    // to make a connection, if the DSN has no connect_timeout; 0 is 10 s
	Tries       uint             // how often a transaction is tried that lost against another one; 0 is 5
	Wait        time.Duration    // how long Open waits for a server that does not answer; 0 is not at all
	MigrateWait time.Duration    // how long to wait for another process that migrates; 0 is 60 s
}

// Store is a state.Store in PostgreSQL. Use Open.
type Store struct {
	pool *pgxpool.Pool
	o    Options
}

var _ state.Store = (*Store)(nil)

// Open connects and brings the schema up to date.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Connect <= 0 {
		o.Connect = 10 * time.Second
	}
	if o.Tries == 0 {
		o.Tries = 5
	}
	if o.MigrateWait <= 0 {
		o.MigrateWait = time.Minute
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The cause quotes the DSN, and what it can't parse it can't redact.
		return nil, errkind.New(errkind.Invalid,
			"open state: the PostgreSQL DSN is malformed (want postgres://user:password@host:port/database?sslmode=... or key=value pairs)")
	}
	if o.MaxConns > 0 {
		cfg.MaxConns = o.MaxConns
	}
	// Migrating takes a connection, and its lock another one.
	cfg.MaxConns = max(cfg.MaxConns, 2)
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = o.Connect
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, classify("open state", err)
	}
	s := &Store{pool: pool, o: o}
	if err := s.migrate(ctx); err != nil {
		pool.Close()
		return nil, classify("open state", err)
	}
	return s, nil
}

func (s *Store) migrate(ctx context.Context) error {
	// Find out first whether there is a server: the wait for the migration lock would try for long.
	if err := s.reach(ctx); err != nil {
		return err
	}
	db := stdlib.OpenDBFromPool(s.pool)
	return errors.Join(migrations.Postgres(ctx, db, s.o.MigrateWait), db.Close())
}

// reach finds out whether there is a server, and waits for one if Options.Wait says so.
func (s *Store) reach(ctx context.Context) error {
	if s.o.Wait <= 0 {
		return s.call(ctx, s.pool.Ping)
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.call(ctx, s.pool.Ping)
		if err != nil && kindOf(err) != errkind.Unavailable {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(s.o.Wait), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: time.Second,
	}))
	return err
}

// Close waits for the calls under way and closes the connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// exec runs a statement that may happen twice, and whose result nobody needs.
func (s *Store) exec(ctx context.Context, sql string, args ...any) error {
	return s.repeat(ctx, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, sql, args...)
		return err
	})
}

// one reads one row; pgx.ErrNoRows if there is none.
func (s *Store) one(ctx context.Context, to []any, sql string, args ...any) error {
	return s.repeat(ctx, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, sql, args...).Scan(to...)
	})
}

// all reads all rows.
func all[E any](ctx context.Context, s *Store, scan pgx.RowToFunc[E], sql string, args ...any) (out []E, err error) {
	err = s.repeat(ctx, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		out, err = pgx.AppendRows[E, []E](nil, rows, scan) // nil if there is none, as in the other stores
		return err
	})
	return out, err
}
