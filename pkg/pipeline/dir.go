package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/sqlite"
)

// What is in a data directory.
const (
	lockFile  = "lock"
	turnFile  = "turn" // holds the process id of whoever works
	stateFile = "state.db"
	brokerDir = "broker"
	groupFile = "group.yaml" // the document of the last start, so that other commands need only the directory
)

// maxSocketPath is what fits into a socket's address on every system.
const maxSocketPath = 100

// SocketPath is where the process that uses a data directory takes commands. It is in the directory, or, if its path is too
// long for a socket, in the folder for temporary files under a name that follows from it.
func SocketPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", errkind.New(errkind.Invalid, "find data directory: %w", err)
	}
	path := filepath.Join(abs, "control.sock")
	if len(path) <= maxSocketPath {
		return path, nil
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join(os.TempDir(), "bucketmesh-"+hex.EncodeToString(sum[:12])+".sock"), nil
}

// lockWait is how long a start waits for a command that looks at the directory; such a command is soon done.
const lockWait = 10 * time.Second

// lookWait is how long a command that only looks waits for another one of its kind.
const lookWait = 2 * time.Second

// InUse is the cause of an error that says that another process has the data directory. The error is of kind Conflict.
type InUse struct {
	Dir string
	PID string // of the process; "" if it is not known
}

// Error implements error.
func (u *InUse) Error() string {
	return fmt.Sprintf("lock data directory %s: process %s uses it already", u.Dir, u.PID)
}

// dirLock makes this process the only user of a data directory. The system frees it when the process ends, however it ends.
//
// Whoever works on the directory holds two locks: its turn, then the directory. Whoever only looks takes the directory if
// nobody has a turn, so that looking, however often, does not keep anybody from starting.
type dirLock struct{ turn, dir *os.File }

func (l *dirLock) Close() error {
	var errs []error
	for _, f := range []*os.File{l.dir, l.turn} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// lockDir locks a directory to work on it, or to look at it, and makes it if it is not there.
func lockDir(ctx context.Context, dir string, work bool) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errkind.New(errkind.Invalid, "make data directory: %w", err)
	}
	l := &dirLock{}
	var err error
	if l.turn, err = flock(ctx, filepath.Join(dir, turnFile), 0); err == nil {
		wait := lookWait
		if work {
			wait = lockWait
			err = writePID(l.turn)
		} else {
			err = errors.Join(l.turn.Close())
			l.turn = nil
		}
		if err == nil {
			l.dir, err = flock(ctx, filepath.Join(dir, lockFile), wait)
		}
	}
	if err == nil {
		return l, nil
	}
	_ = l.Close() // the first error is what matters
	if errors.Is(err, syscall.EWOULDBLOCK) {
		owner, _ := os.ReadFile(filepath.Join(dir, turnFile)) // only to be helpful
		return nil, errkind.New(errkind.Conflict, "%w", &InUse{Dir: dir, PID: strings.TrimSpace(string(owner))})
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, errkind.New(errkind.PermissionDenied, "lock data directory %s: %w: run it as the user of `bucketmesh up`", dir, err)
	}
	return nil, errkind.New(errkind.Invalid, "lock data directory %s: %w", dir, err)
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err //nolint:wrapcheck // names the file
	}
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err //nolint:wrapcheck // names the file
}

// flock locks a file, and tries again until the time is over.
func flock(ctx context.Context, path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	limit, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
		case <-limit.Done():
			pause.Stop()
			_ = f.Close()   // the first error is what matters
			return nil, err //nolint:wrapcheck // the caller knows the file
		}
	}
}

// Digest is the SHA-256 of a group's document with every default spelled out, in lower-case hex: equal documents have
// equal digests, however they are written.
func Digest(g *config.Group) (string, error) {
	text, err := config.Marshal(g)
	if err != nil {
		return "", fmt.Errorf("digest document: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// LoadGroup reads the document that the directory was last used with. It is NotFound if there is none.
func LoadGroup(dir string) (*config.Group, error) {
	g, err := config.LoadFile(filepath.Join(dir, groupFile), config.Options{})
	if err != nil {
		return nil, fmt.Errorf("find the group of data directory %s: %w", dir, err)
	}
	return g, nil
}

// checkDir refuses a directory that is for another group: its events and its state are about that one.
func checkDir(dir string, g *config.Group) error {
	known, err := LoadGroup(dir)
	if err == nil && known.Name != g.Name {
		return errkind.New(errkind.Invalid, "data directory %s belongs to group %s, not to %s: give each group its own", dir, known.Name, g.Name)
	}
	return nil
}

// rememberGroup notes the document that the directory is used with. It is one that works: a start that fails, and a
// command that only looks, leave the one that was there.
func rememberGroup(dir string, g *config.Group) error {
	text, err := config.Marshal(g)
	if err != nil {
		return fmt.Errorf("remember group: %w", err)
	}
	path := filepath.Join(dir, groupFile)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return errkind.New(errkind.Invalid, "remember group: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return errkind.New(errkind.Invalid, "remember group: %w", err)
	}
	return nil
}

// State is the state store, with the audit log and the ledger in it.
type State struct {
	state.Store

	Log     audit.Log
	Ledger  ledger.Ledger
	Letters deadletter.Store // of services; nil in a data directory, whose broker has them
}

// OpenState opens the state of a data directory, or that in a PostgreSQL database. Several processes may have it open.
func OpenState(ctx context.Context, dir, dsn string) (*State, error) {
	switch {
	case dsn == "":
		s, err := sqlite.Open(ctx, filepath.Join(dir, stateFile), sqlite.Options{})
		if err != nil {
			return nil, err //nolint:wrapcheck // says "open state" and the file
		}
		return &State{Store: s, Log: s.Audit(), Ledger: s.Ledger()}, nil
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		s, err := postgres.Open(ctx, dsn, postgres.Options{})
		if err != nil {
			return nil, err //nolint:wrapcheck // says "open state"
		}
		return &State{Store: s, Log: s.Audit(), Ledger: s.Ledger(), Letters: s.Letters()}, nil
	}
	return nil, errkind.New(errkind.Invalid, "open state: the address of the database (--state, or $BUCKETMESH_STATE) must begin with postgres://, as in "+
		"postgres://user:password@host:5432/database?sslmode=verify-full; what it is now is not repeated, because it may hold a password")
}
