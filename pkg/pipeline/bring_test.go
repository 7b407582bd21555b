package pipeline_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// quiet runs a pipeline that hears of nothing.
func quiet(t *testing.T, c *cluster.Cluster, dir string) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.Start(t.Context(), pipeline.Options{Group: c.Group, DataDir: dir, LookupEnv: cluster.LookupEnv})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// What was there before the first start is united, conflicts included; nothing is deleted, because a missing object proves
// nothing. What happened unnoticed later is found too, and then a delete is carried on, because the state proves it.
func TestBackfill(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	a, b := c.Sites["a"], c.Sites["b"]
	a.Put("only/a", "1")
	b.Put("only/b", "2")
	a.Put("same", "3")
	b.Put("same", "3")
	a.Put("clash", "from a")
	b.Put("clash", "from b")
	p := quiet(t, c, t.TempDir())
	got, err := p.Backfill(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Keys != 4 || got.Verified != 1 || got.Differ != 3 || got.Clashes != 1 || got.Settled != 2 || !got.Complete() {
		t.Errorf("first backfill: %+v", got)
	}
	ca := a.Contents()
	if len(ca) != 5 || len(b.Contents()) != 5 {
		t.Errorf("not united: %v and %v", ca, b.Contents())
	}
	for key, want := range b.Contents() {
		if ca[key] != want {
			t.Errorf("%s is %q at a and %q at b", key, ca[key], want)
		}
	}
	loser := "from a"
	if ca["clash"] == "from a" {
		loser = "from b"
	}
	kept := false
	for key, content := range ca {
		kept = kept || strings.HasPrefix(key, config.ConflictPrefix) && content == loser
	}
	if !kept {
		t.Errorf("the loser %q is not kept: %v", loser, ca)
	}

	a.Delete("only/a")
	b.Put("same", "4")
	got, err = p.Backfill(t.Context(), nil)
	if err != nil || !got.Complete() {
		t.Fatalf("second backfill: %+v, %v", got, err)
	}
	c.Everywhere("only/a", "")
	c.Everywhere("same", "4")

	// What we wrote last is looked at once more: the answer to a PUT does not tell when the object was modified.
	if got, err = p.Backfill(t.Context(), nil); err != nil || !got.Complete() || got.Differ != 0 {
		t.Errorf("third backfill: %+v, %v", got, err)
	}
	before := total(p)
	got, err = p.Backfill(t.Context(), nil)
	if err != nil || got.Equal != got.Keys {
		t.Errorf("a backfill of what is equal: %+v, %v", got, err)
	}
	if cost := total(p).Sub(before); cost.Total() != cost.List+cost.Head || cost.List != 2 || cost.Head != 2 {
		t.Errorf("a backfill of what is equal cost %+v, want one listing each, and one look at the marker of its bucket", cost)
	}
}

// Concurrent writes at two replicas, heard of by notifications: one wins everywhere, the other is kept everywhere.
func TestConflictIsResolvedAndLoserKept(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	a, b := c.Sites["a"], c.Sites["b"]
	a.Put("k", "from a") // nobody listens yet
	b.Put("k", "from b")
	p := start(t, c, t.TempDir())
	a.Put("k", "from a, again")
	cluster.Eventually(t, "the conflict is resolved and its loser is at both", func() bool {
		ca, cb := a.Contents(), b.Contents()
		if len(ca) != 2 || len(cb) != 2 {
			return false
		}
		for key, content := range ca {
			if cb[key] != content {
				return false
			}
		}
		return true
	})
	idle(t, p)
	records, err := p.Store().Conflicts(t.Context(), "test", "resolved", 10)
	if err != nil || len(records) != 1 || records[0].Key != "k" || len(records[0].Losers) != 1 || records[0].Losers[0].Copy == "" {
		t.Fatalf("records %+v, %v", records, err)
	}
	winner, _ := a.Get("k")
	loser, _ := b.Get(records[0].Losers[0].Copy)
	if winner == loser || !strings.HasPrefix(winner, "from") || !strings.HasPrefix(loser, "from") {
		t.Errorf("winner %q, loser %q", winner, loser)
	}
	entries, err := p.Audit().Range(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]int{}
	for _, e := range entries {
		recorded[e.Type]++
	}
	for _, typ := range []string{event.ObjectWritten, event.ConflictDetected, event.ConflictResolved, event.SyncApplied} {
		if recorded[typ] == 0 {
			t.Errorf("the audit log has no %s: %v", typ, recorded)
		}
	}
}

// A key that one replica can't hold is at all the others, with the reason in the status, and does not hold up other keys.
func TestKeyThatAReplicaCannotHoldBlocksNothing(t *testing.T) {
	c := cluster.New(t, cluster.Options{Prefix: map[string]string{"b": strings.Repeat("p", 100)}}, "a", "b", "c")
	p := start(t, c, t.TempDir())
	long := strings.Repeat(strings.Repeat("k", 100)+"/", 9) + strings.Repeat("k", 50) // below the prefix of b it has more than 1,024 bytes
	c.Sites["a"].Put(long, "1")
	c.Sites["a"].Put("short", "2")
	c.Everywhere("short", "2")
	cluster.Eventually(t, "the other replica has the key", func() bool { got, _ := c.Sites["c"].Get(long); return got == "1" })
	idle(t, p)
	s, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.DirtyKeys) != 1 || s.DirtyKeys[0].Key != long || !strings.Contains(s.DirtyKeys[0].Reason, "b:") {
		t.Errorf("dirty keys %+v", s.DirtyKeys)
	}
	cluster.Eventually(t, "a dead letter tells of it, and no second one", func() bool {
		letters, err := p.DeadLetters(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(letters) == 1 && strings.Contains(letters[0].Reason, long) && strings.Contains(letters[0].Reason, "replica b")
	})
}

func TestStartRefuses(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	dir := t.TempDir()
	begin := func(change func(*pipeline.Options)) error {
		o := pipeline.Options{Group: c.Group, DataDir: dir, Listen: c.Listen, LookupEnv: cluster.LookupEnv}
		change(&o)
		p, err := pipeline.Start(t.Context(), o)
		if err == nil {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		return err
	}
	refused := func(name string, kind errkind.Kind, words string, change func(*pipeline.Options)) {
		t.Helper()
		err := begin(change)
		if err == nil || errkind.Of(err) != kind || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v (%v), want %v with %q", name, err, errkind.Of(err), kind, words)
		}
	}
	refused("everybody may send", errkind.Invalid, "BUCKETMESH_WEBHOOK_TOKENS", func(o *pipeline.Options) { o.Listen = "0.0.0.0:0" })
	refused("no credentials", errkind.Invalid, "BUCKETMESH_TEST_ACCESS_KEY_ID", func(o *pipeline.Options) {
		o.LookupEnv = func(string) (string, bool) { return "", false }
	})
	refused("wrong credentials", errkind.PermissionDenied, "replica", func(o *pipeline.Options) {
		o.LookupEnv = func(name string) (string, bool) { return "wrong-" + name, true }
	})
	refused("state of another kind", errkind.Invalid, "postgres://", func(o *pipeline.Options) { o.State = "mysql://db" })
	refused("unversioned", errkind.Invalid, "switch versioning on", func(o *pipeline.Options) {
		g, err := config.Load([]byte(strings.Replace(c.Document, c.Sites["b"].Bucket, c.Sites["b"].Unversioned(), 1)), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o.Group = g
	})
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	// The credentials are wrong too, which shows only where a bucket is asked.
	refused("a port that is taken", errkind.Invalid, "in use", func(o *pipeline.Options) {
		o.Listen = taken.Addr().String()
		o.LookupEnv = func(name string) (string, bool) { return "wrong-" + name, true }
	})
	refused("a port that is none", errkind.Invalid, "65535", func(o *pipeline.Options) { o.Listen = "127.0.0.1:99000" })
	if _, err := pipeline.LoadGroup(dir); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("a start that failed left its document: %v", err)
	}
	if err := begin(func(*pipeline.Options) {}); err != nil {
		t.Errorf("what is good was refused: %v", err)
	}
	if _, err := pipeline.LoadGroup(dir); err != nil {
		t.Errorf("a start that worked left no document: %v", err)
	}
	other := *c.Group
	other.Name = "other"
	refused("a directory of another group", errkind.Invalid, "belongs to group test", func(o *pipeline.Options) { o.Group = &other })
	running := quiet(t, c, dir)
	refused("a directory in use", errkind.Conflict, "uses it already", func(*pipeline.Options) {})
	if err := running.Close(); err != nil {
		t.Error(err)
	}
	if err := begin(func(*pipeline.Options) {}); err != nil {
		t.Errorf("the lock outlived its process: %v", err)
	}
}

// A replica that is down does not keep the others from starting again, and gets what it missed when it is back.
func TestStartWithoutAReplica(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b", "c")
	dir := t.TempDir()
	p := start(t, c, dir)
	c.Sites["a"].Put("before", "1")
	c.Everywhere("before", "1")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	c.Sites["c"].Stop()
	p = start(t, c, dir)
	c.Sites["a"].Put("meanwhile", "2")
	cluster.Eventually(t, "the replica that answers has it", func() bool { got, _ := c.Sites["b"].Get("meanwhile"); return got == "2" })
	var dirty []state.Dirty
	cluster.Eventually(t, "the key waits for the replica that is down", func() bool {
		s, err := p.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		dirty = s.DirtyKeys
		return len(dirty) == 1 && strings.Contains(dirty[0].Reason, "c:")
	})
	c.Sites["c"].Start()
	c.Everywhere("meanwhile", "2")
}

func TestSocketPathFitsAnAddress(t *testing.T) {
	for _, dir := range []string{"/d", filepath.Join(os.TempDir(), strings.Repeat("long/", 40))} {
		path, err := pipeline.SocketPath(dir)
		if err != nil || len(path) > 104 {
			t.Errorf("%s: %s (%d), %v", dir, path, len(path), err)
		}
	}
}
