package sqlite_test

import (
	"os"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/state/sqlite"
)

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	path := file(t)
	open(t, path, sqlite.Options{})
	for _, suffix := range []string{"", "-wal", "-shm", ".migrate"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%q has mode %o, want 600", suffix, mode)
		}
	}
}
