// Package sqlite keeps the state in one SQLite file: the store of the one-process mode. Several processes may share
// the file on one machine; never put it on a network file system.
//
// The file is in WAL mode. One connection writes, a few read; neither waits for the other. Every change is one
// transaction that takes the write lock first (BEGIN IMMEDIATE), so that it never has to be undone because another
// process wrote in between.
//
// Durability: with Synchronous Normal a commit survives the death of the process (kill -9), because it is in the
// operating system's cache; a power loss can take the last commits away, but never tears the file or half a commit.
// With Full a commit survives power loss and costs one fsync.
//
// Errors: as in package state. A lock that another process held for too long, a full disk and an I/O error are
// Unavailable; a read-only file is PermissionDenied.
//
// Concurrency: all methods may be called from many goroutines. A transaction that has begun is not interrupted by the
// end of its context: it is short, and its outcome is then always known.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/migrations"
)

// Synchronous says what a commit survives; see the package comment.
type Synchronous string

// The two ways.
const (
	Normal Synchronous = "NORMAL"
	Full   Synchronous = "FULL"
)

// Options of Open. The zero value is good for use.
type Options struct {
	Now         func() time.Time // clock that revisions follow; nil is time.Now
	Synchronous Synchronous      // "" is Normal
	BusyTimeout time.Duration    // how long to wait for another process's write lock; 0 is 5 s
	Tries       uint             // how often a transaction is tried while the file is locked; 0 is 3
	Readers     int              // connections that read; 0 is twice the processors, at least 4
}

// Store is a state.Store in a SQLite file. Use Open.
type Store struct {
	now    func() time.Time
	w      *writer
	reader *sql.DB
	write  writes
	read   reads
}

var _ state.Store = (*Store)(nil)

// Open opens the file, makes it if it is not there, and brings its schema up to date. Beside path there will be files
// with the suffixes -wal, -shm and .migrate.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Synchronous == "" {
		o.Synchronous = Normal
	}
	if o.Synchronous != Normal && o.Synchronous != Full {
		return nil, errkind.New(errkind.Invalid, "open state %s: synchronous is %q, not NORMAL or FULL", path, o.Synchronous)
	}
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.Tries == 0 {
		o.Tries = 3
	}
	if o.Readers <= 0 {
		o.Readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	s := &Store{now: o.Now}
	if err := s.open(ctx, path, o); err != nil {
		return nil, errors.Join(classify("open state "+path, err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, path string, o Options) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("find file: %w", err)
	}
	if err := createPrivate(abs, abs+".migrate"); err != nil {
		return err
	}
	unlock, err := lockFile(ctx, abs+".migrate", o.BusyTimeout)
	if err != nil {
		return fmt.Errorf("lock for migration: %w", err)
	}
	defer unlock()
	// Everything that needs the file for itself alone happens under the lock: the change to WAL mode too.
	db, err := connect(abs, o.BusyTimeout, "journal_mode(WAL)", "synchronous("+string(o.Synchronous)+")", "foreign_keys(1)")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	s.w = &writer{db: db, tries: o.Tries, turn: make(chan struct{}, 1)}
	if err := migrations.SQLite(ctx, db); err != nil {
		return err
	}
	if s.w.conn, err = db.Conn(ctx); err != nil {
		return fmt.Errorf("open writer: %w", err)
	}
	if err := s.write.prepare(ctx, s.w.conn); err != nil {
		return err
	}
	s.reader, err = connect(abs, o.BusyTimeout, "query_only(1)", "synchronous("+string(o.Synchronous)+")")
	if err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(o.Readers)
	s.reader.SetMaxIdleConns(o.Readers)
	return s.read.prepare(ctx, s.reader)
}

// Close waits for the transaction under way and closes the file.
func (s *Store) Close() error {
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.w != nil {
		errs = append(errs, s.w.close())
	}
	return classify("close state", errors.Join(errs...))
}

func connect(path string, busy time.Duration, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_pragma": append([]string{fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds())}, pragmas...)}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// createPrivate makes files that only the owner may read, as the state names all keys; SQLite would go by the umask. It
// gives -wal and -shm the mode of the database. A file that is there keeps its mode: that is its owner's choice.
func createPrivate(paths ...string) error {
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return errkind.New(errkind.Unavailable, "open state: create file: %w", err) // as SQLite's own CANTOPEN
		}
		if err := f.Close(); err != nil {
			return errkind.New(errkind.Unavailable, "open state: create file: %w", err) // as SQLite's own CANTOPEN
		}
	}
	return nil
}

// lockFile holds a lock that the operating system takes back when the process dies: the exclusive lock of a second,
// empty database. The schema's own file can't serve, because a migration has transactions of its own.
func lockFile(ctx context.Context, path string, wait time.Duration) (unlock func(), err error) {
	db, err := connect(path, wait)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return func() { _ = db.Close() }, nil // closing rolls back; there is nothing that could be lost
}
