package pipeline_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

const many = 200

func keyOf(i int) string { return fmt.Sprintf("dir/%03d", i) }

// fill puts many keys at a replica and waits until all have them.
func fill(t *testing.T, c *cluster.Cluster, at string) {
	t.Helper()
	for i := range many {
		c.Sites[at].Put(keyOf(i), keyOf(i))
	}
	haveAll(t, c, many)
}

// haveAll waits until every replica has so many keys.
func haveAll(t *testing.T, c *cluster.Cluster, n int) {
	t.Helper()
	for name, s := range c.Sites {
		cluster.Eventually(t, fmt.Sprintf("%s has %d keys", name, n), func() bool { return len(s.Keys()) == n })
	}
}

func brake(t *testing.T, p *pipeline.Pipeline, r pipeline.BrakeRequest) pipeline.Brake {
	t.Helper()
	b, err := p.Brake(t.Context(), r, func(worker.Done) {})
	if err != nil {
		t.Fatalf("brake %s: %v", r.Do, err)
	}
	return b
}

// massDelete deletes 51 % of all keys at a replica and waits until all these deletes are held.
func massDelete(t *testing.T, c *cluster.Cluster, p *pipeline.Pipeline, at string) {
	t.Helper()
	const n = many*51/100 + 1
	for i := range n {
		c.Sites[at].Delete(keyOf(i))
	}
	cluster.Eventually(t, "the brake tripped and holds every delete", func() bool {
		b := brake(t, p, pipeline.BrakeRequest{Do: pipeline.BrakeStatus})
		return b.State == "tripped" && b.Waiting == n
	})
	idle(t, p)
	for name, s := range c.Sites {
		if got := len(s.Keys()); name != at && got != many {
			t.Fatalf("%d keys are left at %s, want all %d: nobody approved", got, name, many)
		}
	}
}

// allBack checks that every key is everywhere, with its content.
func allBack(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	haveAll(t, c, many)
	for name, s := range c.Sites {
		for key, content := range s.Contents() {
			if content != key {
				t.Errorf("%s holds %q of %s", name, content, key)
			}
		}
	}
}

// A mass delete by a user or a tool removes nothing elsewhere until a person decides. Undone, everything is back; approved, it
// is carried on; and what was carried on can be brought back.
func TestMassDeleteIsHeldUndoneApprovedAndBroughtBack(t *testing.T) {
	for name, prefix := range map[string]string{"versioned": "", "unversioned": "u/"} {
		t.Run(name, func(t *testing.T) {
			c := cluster.New(t, cluster.Options{}, "a", "b")
			if prefix != "" {
				unversioned(t, c, "b")
			}
			p := start(t, c, t.TempDir())
			seen := watch(t, p)
			fill(t, c, "a")
			massDelete(t, c, p, "a")
			c.Sites["a"].Put("meanwhile", "put") // goes on as ever
			c.Everywhere("meanwhile", "put")
			c.Sites["a"].Put(keyOf(0), "written again")
			c.Everywhere(keyOf(0), "written again")
			c.Sites["a"].Put(keyOf(0), keyOf(0))
			c.Everywhere(keyOf(0), keyOf(0))
			b := brake(t, p, pipeline.BrakeRequest{Do: pipeline.BrakeUndo})
			if b.State != "armed" || b.Done.By["undone"] != many*51/100 || b.Done.Left() {
				t.Errorf("undo: %+v, %+v", b, b.Done)
			}
			c.Sites["a"].Delete("meanwhile")
			allBack(t, c)

			massDelete(t, c, p, "a")
			b = brake(t, p, pipeline.BrakeRequest{Do: pipeline.BrakeApprove})
			if b.State != "armed" || b.Done.Keys != many*51/100+1 {
				t.Errorf("approve: %+v, %+v", b, b.Done)
			}
			haveAll(t, c, many-many*51/100-1)
			idle(t, p)
			dry, err := p.Undelete(t.Context(), worker.Select{Prefix: "dir/", Dry: true}, nil)
			if err != nil || dry.By["restored"] != many*51/100+1 {
				t.Errorf("undelete, dry: %+v, %v", dry.Done, err)
			}
			got, err := p.Undelete(t.Context(), worker.Select{Prefix: "dir/"}, nil)
			if err != nil || got.By["restored"] != many*51/100+1 || got.Left() {
				t.Errorf("undelete: %+v, %v", got.Done, err)
			}
			allBack(t, c)
			idle(t, p)
			if n := seen.of(event.GuardTripped, ""); n != 2 {
				t.Errorf("the brake was announced %d times, want 2", n)
			}
		})
	}
}

// unversioned makes a replica's bucket one that keeps no versions, which only a person who accepts the loss window runs on MinIO.
func unversioned(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	s := c.Sites[name]
	bucket := s.Unversioned()
	text := strings.Replace(c.Document, s.Bucket, bucket, 1)
	text = strings.Replace(text, "{name: "+name+",", "{name: "+name+", acceptLossWindow: true,", 1)
	g, err := config.Load([]byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Group, s.Bucket = g, bucket
}

// emptyLists stands in front of a server and, when it is told so, answers every listing with an empty one.
type emptyLists struct {
	http.Handler
	on atomic.Bool
	n  atomic.Int64
}

func (e *emptyLists) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if e.on.Load() && r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2" {
		e.n.Add(1)
		w.Header().Set("Content-Type", "application/xml")
		_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`+
			`<Name>b</Name><KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>`)
		return
	}
	e.Handler.ServeHTTP(w, r)
}

// A listing that is empty, whatever the reason, removes nothing: it is no proof of anything.
func TestEmptyListingRemovesNothing(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	target, err := url.Parse(c.Sites["a"].Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	gate := &emptyLists{Handler: &httputil.ReverseProxy{Director: func(r *http.Request) { r.URL.Scheme, r.URL.Host = target.Scheme, target.Host }}} //nolint:staticcheck // the host is signed
	server := httptest.NewServer(gate)
	t.Cleanup(server.Close)
	g, err := config.Load([]byte(strings.Replace(c.Document, target.String(), server.URL, 1)), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.Group = g
	p := start(t, c, t.TempDir())
	fill(t, c, "a")
	idle(t, p)
	gate.on.Store(true)
	got, err := p.Backfill(t.Context(), nil)
	if err != nil || gate.n.Load() == 0 || got.Differ+got.Verified < many {
		t.Errorf("backfill %+v, %d empty listings, %v", got, gate.n.Load(), err)
	}
	gate.on.Store(false)
	allBack(t, c)
	if b := brake(t, p, pipeline.BrakeRequest{Do: pipeline.BrakeStatus}); b.Counted != 0 {
		t.Errorf("an empty listing made deletes: %+v", b)
	}
}

// A bucket that was swapped for an empty one removes nothing, neither while the process runs nor at its next start; under a new
// name it is filled.
func TestBucketSwappedForAnEmptyOneRemovesNothing(t *testing.T) {
	c := cluster.New(t, cluster.Options{}, "a", "b")
	dir := t.TempDir()
	p := start(t, c, dir)
	fill(t, c, "a")
	idle(t, p)
	c.Sites["a"].Replace()
	got, err := p.Backfill(t.Context(), nil)
	if err != nil || !strings.Contains(got.Skipped["a"], object.IdentityKey) {
		t.Errorf("backfill %+v, %v", got, err)
	}
	c.Sites["a"].Put("new", "in the new bucket")
	idle(t, p)
	if n := len(c.Sites["b"].Keys()); n < many {
		t.Fatalf("%d keys are left at b", n)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	o := pipeline.Options{Group: c.Group, DataDir: dir, LookupEnv: cluster.LookupEnv}
	if _, err := pipeline.Start(t.Context(), o); !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "new name") {
		t.Fatalf("start with another bucket: %v", err)
	}
	if o.Group, err = config.Load([]byte(strings.Replace(c.Document, "name: a,", "name: a2,", 1)), config.Options{}); err != nil {
		t.Fatal(err)
	}
	c.Group = o.Group
	p = quiet(t, c, dir)
	if _, err := p.Backfill(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	haveAll(t, c, many+1)
	if !slices.Equal(c.Sites["a"].Keys(), c.Sites["b"].Keys()) {
		t.Error("the replicas differ")
	}
}

// That a delete can be brought back costs nothing where buckets keep versions.
func TestDeleteOfWhatVersionsKeepCostsNothingMore(t *testing.T) {
	cost := func(spec string) object.Snapshot {
		c := cluster.New(t, cluster.Options{Spec: spec}, "a", "b", "c")
		p := start(t, c, t.TempDir())
		seen := watch(t, p)
		c.Sites["a"].Put("k", "1")
		c.Everywhere("k", "1")
		cluster.Eventually(t, "the echoes of the write came back", func() bool { return seen.of(event.ObjectWritten, "k") >= 3 })
		idle(t, p)
		before := total(p)
		c.Sites["a"].Delete("k")
		cluster.Eventually(t, "the echoes of the delete came back", func() bool { return seen.of(event.ObjectDeleted, "k") >= 3 })
		idle(t, p)
		c.Everywhere("k", "")
		return total(p).Sub(before)
	}
	off, on := cost("  deletes: {quarantine: 0s}\n"), cost("")
	if on != off || on.Delete != 2 || on.Get+on.Put != 0 {
		t.Errorf("a delete costs %+v, and %+v without quarantine", on, off)
	}
}
