package cli_test

import (
	"encoding/json"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

const (
	before  = `{"color":"red","size":1,"tags":["x"]}`
	editUS  = `{"color":"blue","size":1,"tags":["x"]}`
	editEU  = `{"color":"red","size":2,"tags":["x"]}`
	union   = `{"color":"blue","size":2,"tags":["x"]}`
	clashEU = `{"color":"green","size":1,"tags":["x"]}`
)

// mesh is a group at work in a process of its own.
type mesh struct {
	*cluster.Cluster
	t          *testing.T
	group, dir string
	up         *child
}

func newMesh(t *testing.T, spec string) *mesh {
	t.Helper()
	m := &mesh{Cluster: cluster.New(t, cluster.Options{QueueDir: true, Spec: spec}, "us", "eu"), t: t, dir: t.TempDir()}
	m.group = write(t, "group.yaml", m.Document)
	m.start()
	return m
}

func (m *mesh) start() {
	m.t.Helper()
	m.up = spawn(m.t, "up", "-f", m.group, "--data", m.dir, "--listen", m.Listen)
	cluster.Eventually(m.t, "up is up", func() bool { s, ok := statusOf(m.t, m.dir); return ok && s.Running })
}

// stop ends the process in order.
func (m *mesh) stop() {
	m.t.Helper()
	m.signal(syscall.SIGTERM)
	if err := m.up.wait(); err != nil {
		m.t.Fatalf("SIGTERM: %v", err)
	}
}

func (m *mesh) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.up.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

// atOnce has users write a key in both regions after all have a common base, and neither write sees the other one: the process
// holds its breath meanwhile.
func (m *mesh) atOnce(key, us, eu string) {
	m.t.Helper()
	m.Sites["us"].Put(key, before)
	m.Everywhere(key, before)
	cluster.Eventually(m.t, "there is nothing left to do", func() bool { s, ok := statusOf(m.t, m.dir); return ok && s.Dirty == 0 })
	m.signal(syscall.SIGSTOP)
	m.Sites["us"].Put(key, us)
	m.Sites["eu"].Put(key, eu)
	m.signal(syscall.SIGCONT)
}

// ask runs a command and returns what it printed.
func (m *mesh) ask(args ...string) string {
	m.t.Helper()
	got := run(m.t, clusterEnv(), append(append([]string{"conflicts"}, args...), "--data", m.dir)...)
	if got.code != cli.OK {
		m.t.Fatalf("conflicts %s: %d %s%s", strings.Join(args, " "), got.code, got.out, got.err)
	}
	return got.out
}

// answer is ask, in JSON.
func answer[T any](m *mesh, args ...string) (v T) {
	m.t.Helper()
	if text := m.ask(append(args, "-o", "json")...); json.Unmarshal([]byte(text), &v) != nil {
		m.t.Fatalf("conflicts %s: %s", strings.Join(args, " "), text)
	}
	return v
}

// record waits until the latest conflict of a key has a state.
func (m *mesh) record(key, want string) (c state.Conflict) {
	m.t.Helper()
	cluster.Eventually(m.t, "the conflict of "+key+" is "+want, func() bool {
		for _, c = range answer[[]state.Conflict](m, "list") { // newest first
			if c.Key == key {
				return c.State == want
			}
		}
		return false
	})
	return c
}

// kept waits until a content is kept in both regions under a key of conflicts.
func (m *mesh) kept(key, content string) {
	m.t.Helper()
	if !strings.HasPrefix(key, ".conflicts/") {
		m.t.Fatalf("%q is no key of a copy", key)
	}
	m.Everywhere(key, content)
}

func copyOf(c state.Conflict, at string) string {
	for _, l := range c.Losers {
		if l.Version.Origin == at {
			return l.Copy
		}
	}
	return ""
}

const manualSpec = "  conflicts:\n  - {match: \"contracts/**\", policy: manual, deadline: 72h, fallback: keep-both}\n"

// A person works on the queue while the group is at work, and while nothing runs.
func TestQueue(t *testing.T) {
	m := newMesh(t, manualSpec)
	us, eu := m.Sites["us"], m.Sites["eu"]
	m.atOnce("contracts/1.json", editUS, editEU)
	c := m.record("contracts/1.json", state.ConflictPending)
	if left := time.Until(c.Deadline); left < 71*time.Hour || left > 72*time.Hour {
		t.Errorf("deadline %s", c.Deadline)
	}
	if list := m.ask("list", "--unresolved"); !strings.Contains(list, "DEADLINE") || !strings.Contains(list, c.ID) || !strings.Contains(list, c.Deadline.Local().Format("2006-01-02 15:04:05")) {
		t.Errorf("list:\n%s", list)
	}
	for site, want := range map[string]string{"us": editUS, "eu": editEU} {
		if got, _ := m.Sites[site].Get("contracts/1.json"); got != want {
			t.Errorf("%s has %q while the conflict waits", site, got)
		}
	}
	if s, ok := statusOf(t, m.dir); !ok || s.OpenConflicts != 1 {
		t.Errorf("status counts %d open conflicts", s.OpenConflicts)
	}
	show := m.ask("show", c.ID)
	for _, want := range []string{"policy manual", "Deadline: ", "contracts/1.json at us", "contracts/1.json at eu", " bytes", "conflicts resolve " + c.ID} {
		if !strings.Contains(show, want) {
			t.Errorf("show does not say %q:\n%s", want, show)
		}
	}
	differs := m.ask("diff", c.ID)
	for _, want := range []string{"@ /color", `- "red"`, `+ "blue"`, "@ /size", "- 1", "+ 2", "base "} {
		if !strings.Contains(differs, want) {
			t.Errorf("diff does not say %q:\n%s", want, differs)
		}
	}

	if got := run(t, clusterEnv(), "conflicts", "resolve", c.ID, "--take", "asia", "--data", m.dir); got.code != cli.NotFound || !strings.Contains(got.err, "(at us)") {
		t.Errorf("a replica that is none: %d %s", got.code, got.err)
	}
	if got := run(t, clusterEnv(), "conflicts", "restore", c.ID, "--data", m.dir); got.code != cli.Failure || !strings.Contains(got.err, "not decided yet") {
		t.Errorf("restored before it was decided: %d %s", got.code, got.err)
	}
	decided := m.ask("resolve", c.ID, "--take", "us", "--by", "ann")
	m.Everywhere("contracts/1.json", editUS)
	c = m.record("contracts/1.json", state.ConflictResolved)
	if copied := copyOf(c, "eu"); !strings.Contains(decided, copied) || !strings.Contains(c.Reason, "ann") {
		t.Errorf("record %+v, said\n%s", c, decided)
	}
	m.kept(copyOf(c, "eu"), editEU)
	if got := run(t, clusterEnv(), "conflicts", "resolve", c.ID, "--take", "eu", "--data", m.dir); got.code != cli.Failure || !strings.Contains(got.err, "is decided already (decided by ann)") || !strings.Contains(got.err, "conflicts restore "+c.ID) {
		t.Errorf("decided twice: %d %s", got.code, got.err)
	}
	if got := m.ask("diff", c.ID); !strings.Contains(got, "(won)") || !strings.Contains(got, "@ /size") {
		t.Errorf("diff of a decided one:\n%s", got)
	}

	restored := answer[reconcile.Restored](m, "restore", c.ID)
	m.Everywhere("contracts/1.json", editEU)
	m.kept(restored.Copy, editUS)
	if got := m.ask("diff", c.ID); !strings.Contains(got, `(won) + "blue"`) { // overwritten, and remembered by the buckets
		t.Errorf("diff after a restore:\n%s", got)
	}

	// A file, and by the process itself: nothing runs.
	m.atOnce("contracts/2.json", editUS, clashEU)
	c = m.record("contracts/2.json", state.ConflictPending)
	m.stop()
	if got := m.ask("diff", c.ID, "-o", "json"); !strings.Contains(got, `"clash": true`) || !strings.Contains(got, `"pointer": "/color"`) || strings.Contains(got, "noBase") {
		t.Errorf("diff of a clash: %s", got)
	}
	merged := `{"color":"violet","size":1,"tags":["x"]}`
	m.ask("resolve", c.ID, "--merged", write(t, "merged.json", merged))
	for _, s := range []*cluster.Site{us, eu} {
		if got, _ := s.Get("contracts/2.json"); got != merged {
			t.Errorf("the decision did not get everywhere before the command ended: %q", got)
		}
	}
	c = m.record("contracts/2.json", state.ConflictResolved)
	m.ask("restore", c.ID, "--version", string(c.Losers[0].Version.ID))
	back, _ := us.Get("contracts/2.json")
	if other, _ := eu.Get("contracts/2.json"); back != other || back != editUS && back != clashEU {
		t.Errorf("restored %q and %q", back, other)
	}
	m.start()
	m.kept(copyOf(c, "us"), editUS)
	m.kept(copyOf(c, "eu"), clashEU)

	// A decision about what is not there any more.
	m.atOnce("contracts/3.json", editUS, editEU)
	c = m.record("contracts/3.json", state.ConflictPending)
	m.signal(syscall.SIGSTOP)
	us.Put("contracts/3.json", clashEU)
	late := make(chan result, 1)
	go func() {
		late <- run(t, clusterEnv(), "conflicts", "resolve", c.ID, "--version", string(c.Losers[0].Version.ID), "--data", m.dir)
	}()
	m.signal(syscall.SIGCONT)
	if got := <-late; got.code != cli.Failure || !strings.Contains(got.err, "conflicts list --unresolved") {
		t.Errorf("decided what changed meanwhile: %d %s%s", got.code, got.out, got.err)
	}
	if got, _ := us.Get("contracts/3.json"); got != clashEU {
		t.Errorf("a decision overwrote what nobody had seen: %q", got)
	}
}

// What two regions edited in one JSON document comes together in both; where both changed one field, the fallback decides.
func TestMergeOfTwoRegions(t *testing.T) {
	m := newMesh(t, "  conflicts:\n  - {match: \"config/**\", policy: merge, format: json, fallback: primary, order: [us, eu]}\n")
	m.atOnce("config/a.json", editUS, editEU)
	m.Everywhere("config/a.json", union)
	c := m.record("config/a.json", state.ConflictResolved)
	if c.Policy != "merge" || len(c.Losers) != 2 {
		t.Errorf("record %+v", c)
	}
	m.kept(copyOf(c, "us"), editUS)
	m.kept(copyOf(c, "eu"), editEU)

	m.atOnce("config/b.json", editUS, clashEU)
	m.Everywhere("config/b.json", editUS)
	c = m.record("config/b.json", state.ConflictResolved)
	if !strings.Contains(c.Reason, "/color") || c.Policy == "merge" && c.Winner.Origin != "us" {
		t.Errorf("record %+v", c)
	}
	m.kept(copyOf(c, "eu"), clashEU)
	if got := m.ask("show", c.ID); !strings.Contains(got, "/color") {
		t.Errorf("show does not say why:\n%s", got)
	}
}

// Tried on paper, with and without a data directory and a process, nothing changes.
func TestTry(t *testing.T) {
	m := newMesh(t, manualSpec)
	m.atOnce("contracts/1.json", editUS, editEU)
	c := m.record("contracts/1.json", state.ConflictPending)
	merging := write(t, "merge.yaml", strings.Replace(m.Document, "policy: manual, deadline: 72h,", "policy: merge,", 1))
	have := func() map[string]string {
		all := map[string]string{}
		for name, s := range m.Sites {
			for key, content := range s.Contents() {
				all[name+" "+key] = content
			}
		}
		return all
	}
	was := have()
	try := func(says []string, args ...string) {
		t.Helper()
		got := run(t, clusterEnv(), append([]string{"conflicts", "try", "--key", "contracts/1.json"}, args...)...)
		for _, s := range append(says, "Nothing was changed.") {
			if got.code != cli.OK || !strings.Contains(got.out, s) {
				t.Errorf("try %v does not say %q: %d %s%s", args, s, got.code, got.out, got.err)
			}
		}
	}
	const now, alone = "is in conflict.", "Nothing is known of the past"
	try([]string{now, "somebody is asked first"}, "--data", m.dir)
	try([]string{now, "somebody is asked first"}, "--data", m.dir, "-f", m.group)
	try([]string{now, "policy merge", union}, "--data", m.dir, "-f", merging) // not the document that runs
	try([]string{alone, "somebody is asked first"}, "-f", m.group)
	try([]string{alone, "can't be merged", "/color"}, "-f", merging) // without a base, what one changed clashes with what the other left
	m.stop()
	try([]string{now, "policy merge", union}, "--data", m.dir, "-f", merging)
	p := answer[reconcile.Proposal](m, "try", "--key", "contracts/1.json", "-f", merging)
	if string(p.Merged) != union || len(p.Keep) != 2 {
		t.Errorf("proposal %+v", p)
	}
	if is := have(); !maps.Equal(was, is) {
		t.Errorf("there were %q, there are %q", was, is)
	}
	if got := answer[state.Conflict](m, "show", c.ID); got.State != state.ConflictPending {
		t.Errorf("the conflict is %s", got.State)
	}
}
