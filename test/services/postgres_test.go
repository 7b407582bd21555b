package services_test

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// database is a PostgreSQL server of a test's own, so that it can be restarted under the services.
type database struct {
	t       *testing.T
	control string // pg_ctl
	dir     string
	as      *syscall.Credential // PostgreSQL refuses to run as root
	address string
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	d := &database{t: t, address: cluster.FreePort(t)}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	must(t, err)
	slices.Sort(found)
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Fatal("pg_ctl of PostgreSQL is neither on PATH nor below /usr/lib/postgresql: install PostgreSQL")
	}
	d.control = found[len(found)-1]
	d.dir, err = os.MkdirTemp("", "services-postgres") //nolint:usetesting // another user has to get there, and may not enter t.TempDir
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(d.dir)) })
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		must(t, err)
		uid, err := strconv.Atoi(u.Uid)
		must(t, err)
		gid, err := strconv.Atoi(u.Gid)
		must(t, err)
		d.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		must(t, os.Chown(d.dir, uid, gid))
	}
	d.run("init", "-o", "--username=services --auth=trust --no-sync")
	d.start()
	t.Cleanup(func() { d.run("stop", "-m", "immediate") })
	return d
}

func (d *database) run(verb string, args ...string) {
	d.t.Helper()
	cmd := exec.Command(d.control, append([]string{verb, "-D", filepath.Join(d.dir, "data"), "-s"}, args...)...)
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.as}
	if err := cmd.Run(); err != nil { // its output is inherited by the server, so that nobody can wait for its end
		d.t.Fatalf("pg_ctl %s: %v", verb, err)
	}
}

func (d *database) start() {
	d.t.Helper()
	host, port, err := net.SplitHostPort(d.address)
	must(d.t, err)
	d.run("start", "-w", "-l", filepath.Join(d.dir, "log"), "-o", strings.Join([]string{"-h", host, "-p", port, "-k", d.dir, "-c", "fsync=off"}, " "))
}

// dsn names the database.
func (d *database) dsn() string {
	return "postgres://services@" + d.address + "/postgres?sslmode=disable"
}
