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

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/sqlite"
)

// What is in a data directory.
const (
	lockFile  = "lock"
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

// lockDir makes the directory and this process its only user. The system frees the lock when the process ends, however it
// ends.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errkind.New(errkind.Invalid, "make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "lock data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errkind.New(errkind.Invalid, "lock data directory %s: %w", dir, err)
		}
		owner, _ := os.ReadFile(f.Name()) // only to be helpful
		return nil, errkind.New(errkind.Conflict, "lock data directory %s: process %s uses it already", dir, strings.TrimSpace(string(owner)))
	}
	if err := f.Truncate(0); err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, errkind.New(errkind.Invalid, "lock data directory %s: %w", dir, err)
	}
	return f, nil
}

// LoadGroup reads the document that the directory was last used with. It is NotFound if there is none.
func LoadGroup(dir string) (*config.Group, error) {
	g, err := config.LoadFile(filepath.Join(dir, groupFile), config.Options{})
	if err != nil {
		return nil, fmt.Errorf("find the group of data directory %s: %w", dir, err)
	}
	return g, nil
}

// claimDir notes which group the directory is for, and refuses another one: its events and its state are about the first.
func claimDir(dir string, g *config.Group) error {
	known, err := LoadGroup(dir)
	if err == nil && known.Name != g.Name {
		return errkind.New(errkind.Invalid, "data directory %s belongs to group %s, not to %s: give each group its own", dir, known.Name, g.Name)
	}
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

// OpenState opens the state store of a data directory, or of a PostgreSQL database, and the audit log in it. Several
// processes may have it open.
func OpenState(ctx context.Context, dir, dsn string) (state.Store, audit.Log, error) {
	switch {
	case dsn == "":
		s, err := sqlite.Open(ctx, filepath.Join(dir, stateFile), sqlite.Options{})
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // says "open state" and the file
		}
		return s, s.Audit(), nil
	case strings.HasPrefix(dsn, "postgres://"), strings.HasPrefix(dsn, "postgresql://"):
		s, err := postgres.Open(ctx, dsn, postgres.Options{})
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // says "open state"
		}
		return s, s.Audit(), nil
	}
	return nil, nil, errkind.New(errkind.Invalid, "open state: the address must begin with postgres://")
}
