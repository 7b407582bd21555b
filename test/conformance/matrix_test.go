package conformance_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
)

// verdict is what became of an attribute on its way.
type verdict string

const (
	carried  verdict = "carried"
	mapped   verdict = "mapped"
	refused  verdict = "refused"
	ownThing verdict = "own"
	nothing  verdict = "–" // the source can't hold it
)

// source is a bucket of one cloud whose objects go to a bucket of each cloud.
type source struct {
	name   string
	cloud  cloud
	bucket string
	group  *group
	keys   map[string]attribute // what was written
	native map[string]thing     // how the source's own SDK reads it
}

// source is the replica where users write.
const sourceReplica = "source"

// Every attribute from every cloud to every cloud. The table in docs/conformance.md is what is found here.
func TestConformance(t *testing.T) {
	clouds := map[string]cloud{
		s3Cloud: newS3User(t, "BUCKETMESH_TEST_MINIO_A", "minio"), gcsCloud: newGCSUser(t),
		azureCloud: newAzureUser(t, env(t, "BUCKETMESH_TEST_AZURE_BLOB")),
	}
	all := attributes(t)
	found := newTable(all)
	for _, from := range cloudNames() {
		t.Run("From"+strings.ToUpper(from), func(t *testing.T) {
			s := write(t, clouds, from, all)
			s.bring(t)
			results := s.judge(t, clouds)
			for name, v := range results {
				found.set(from, name, v)
			}
			t.Run("StatAndOpenTellTheSame", s.statAndOpen)
			t.Run("TrapPingPong", s.pingPong)
			t.Run("WayBack", func(t *testing.T) { s.wayBack(t, clouds, results) })
		})
	}
	if !t.Failed() {
		found.compare(t)
	}
}

func keyOf(a attribute) string {
	if a.key != "" {
		return a.key
	}
	return a.section + "/" + a.name
}

// write writes what the cloud can hold with its plain SDK, and makes sure that it does.
func write(t *testing.T, clouds map[string]cloud, from string, all []attribute) *source {
	t.Helper()
	s := &source{name: from, cloud: clouds[from], keys: map[string]attribute{}, native: map[string]thing{}}
	s.bucket = newBucket(t, s.cloud)
	places := []place{{sourceReplica, s.cloud, s.bucket}}
	for _, name := range cloudNames() {
		places = append(places, place{name, clouds[name], newBucket(t, clouds[name])})
	}
	s.group = openGroup(t, places...)
	var e errgroup.Group
	e.SetLimit(parallel)
	for _, a := range all {
		if !a.at(from) {
			continue
		}
		key := keyOf(a)
		if _, twice := s.keys[key]; twice {
			t.Fatalf("two attributes have the key %q", key)
		}
		s.keys[key] = a
		e.Go(func() error {
			if err := s.cloud.write(t.Context(), s.bucket, key, a.object); err != nil {
				return fmt.Errorf("%s, %s: the source refuses it: %w", a.section, a.name, err)
			}
			return nil
		})
	}
	if err := e.Wait(); err != nil {
		t.Fatal(err)
	}
	listed := s.cloud.list(t, s.bucket)
	for key, a := range s.keys {
		if listed[key] == "" {
			t.Errorf("%s, %s: the source stored it under another name", a.section, a.name)
			delete(s.keys, key)
			continue
		}
		got := s.cloud.read(t, s.bucket, key)
		want := a.object.view()
		have := got.view()
		for name, v := range want {
			if have[name] != v && shared(have)[strings.ToLower(name)] != v {
				t.Errorf("%s, %s: the source has %s %q, was given %q", a.section, a.name, name, have[name], v)
			}
		}
		if got.body != a.object.body {
			t.Errorf("%s, %s: the source has %d bytes, was given %d", a.section, a.name, len(got.body), len(a.object.body))
		}
		s.native[key] = got
	}
	return s
}

// bring has the engine do its work: what can't be done stays pending.
func (s *source) bring(t *testing.T) {
	t.Helper()
	for key, out := range s.group.reconcile(t, sorted(s.keys), 0) {
		want := reconcile.Settled
		if s.refusals(s.keys[key]) > 0 {
			want = reconcile.Pending
		}
		if out != want {
			why, err := s.group.Engine().Refused(t.Context(), key)
			t.Errorf("%q is %v, want %v: %v %v", key, out, want, why, err)
		}
	}
}

// refusals is how many destinations refuse it.
func (s *source) refusals(a attribute) int {
	n := 0
	for _, to := range cloudNames() {
		if a.why(to) != "" {
			n++
		}
	}
	return n
}

// judge reads everything at every destination with its own SDK.
func (s *source) judge(t *testing.T, clouds map[string]cloud) map[string]map[string]verdict {
	t.Helper()
	listed, said := s.group.contents(t), s.group.sink.failures(t)
	results := map[string]map[string]verdict{}
	for _, p := range s.group.places[1:] {
		for key, a := range s.keys {
			id := a.section + "/" + a.name
			if results[id] == nil {
				results[id] = map[string]verdict{}
			}
			where := fmt.Sprintf("%s, %s, %s to %s", a.section, a.name, s.name, p.name)
			why := a.why(p.name)
			present := listed[p.name][key] != ""
			switch {
			case why != "" && present:
				t.Errorf("%s: it is there, and should be refused", where)
			case why != "":
				results[id][p.name] = refused
				s.explained(t, where, key, p.name, why, said)
			case !present:
				reasons, err := s.group.Engine().Refused(t.Context(), key)
				t.Errorf("%s: it is not there: %v %v", where, reasons, err)
			default:
				results[id][p.name] = s.compare(t, where, a, s.native[key], clouds[p.name].read(t, p.bucket, key))
			}
		}
		for key := range listed[p.name] {
			if _, wanted := s.keys[key]; !wanted && !strings.HasPrefix(key, ".bucketmesh/") {
				t.Errorf("%s has %q, which nobody wrote", p.name, key)
			}
		}
	}
	return results
}

// explained holds a refusal to its reason and its announcement. An object that no other cloud can take is the source's fault.
func (s *source) explained(t *testing.T, where, key, replica, why string, said map[string]bool) {
	t.Helper()
	if s.keys[key].refused["*"] != "" {
		replica = sourceReplica
	}
	reasons, err := s.group.Engine().Refused(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(reasons[replica], why) {
		t.Errorf("%s: it is refused with %q, want %q", where, reasons[replica], why)
	}
	if !said[replica+" "+key] {
		t.Errorf("%s: the refusal was not announced", where)
	}
}

func (s *source) compare(t *testing.T, where string, a attribute, from, to thing) verdict {
	t.Helper()
	if from.body != to.body {
		t.Errorf("%s: other bytes: %d, want %d", where, len(to.body), len(from.body))
	}
	if a.md5 && (from.md5 == "" || from.md5 != to.md5) {
		t.Errorf("%s: MD5 %q, want %q", where, to.md5, from.md5)
	}
	switch {
	case a.own:
		return ownThing
	case same(from.view(), to.view()):
		return carried
	}
	return mapped // the way back proves it
}

// Stat and Open of a driver must tell the same: what only one of them tells would be an edit that nobody made.
func (s *source) statAndOpen(t *testing.T) {
	for _, r := range s.group.Replicas() {
		for _, key := range sorted(s.keys) {
			a, err := r.Bucket.Stat(t.Context(), key, "")
			body, b, oerr := r.Bucket.Open(t.Context(), key, nil)
			if oerr == nil {
				_ = body.Close()
			}
			switch {
			case err != nil || oerr != nil:
				if errkind.Of(err) != errkind.Of(oerr) {
					t.Errorf("%s, %q: stat %v, open %v", r.Name, key, err, oerr)
				}
			case !reflect.DeepEqual(normal(a.Properties), normal(b.Properties)) || reconcile.Observe(a).Print != reconcile.Observe(b).Print:
				t.Errorf("%s, %q: stat\n%+v, open\n%+v", r.Name, key, a, b)
			}
		}
	}
}

// Once everything is settled, looking again at every key changes nothing anywhere.
func (s *source) pingPong(t *testing.T) {
	var settled, waiting []string
	for _, key := range sorted(s.keys) {
		if s.refusals(s.keys[key]) == 0 {
			settled = append(settled, key)
		} else {
			waiting = append(waiting, key)
		}
	}
	before, requests := s.group.contents(t), s.group.Requests()
	s.group.reconcile(t, settled, 1)
	for replica, n := range s.group.Requests() {
		d := n.Sub(requests[replica])
		if d.Put+d.Delete+d.Multipart != 0 {
			t.Errorf("looking again sent writes to %s: %+v", replica, d)
		}
	}
	s.group.reconcile(t, waiting, 1) // what is refused is tried again, to no effect
	after := s.group.contents(t)
	for replica, all := range before {
		for key, version := range all {
			if after[replica][key] != version {
				t.Errorf("%s: %q changed from %q to %q", replica, key, version, after[replica][key])
			}
		}
		if len(after[replica]) != len(all) {
			t.Errorf("%s: %d objects, were %d", replica, len(after[replica]), len(all))
		}
	}
}

// wayBack brings what has another form at a destination back to a new bucket of the source's cloud: there it must be what it was.
func (s *source) wayBack(t *testing.T, clouds map[string]cloud, results map[string]map[string]verdict) {
	for _, p := range s.group.places[1:] {
		var keys []string
		for _, key := range sorted(s.keys) {
			if a := s.keys[key]; results[a.section+"/"+a.name][p.name] == mapped {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 {
			continue
		}
		back := newBucket(t, s.cloud)
		g := openGroup(t, p, place{"back", s.cloud, back})
		g.reconcile(t, keys, 0)
		listed := s.cloud.list(t, back)
		for _, key := range keys {
			if listed[key] == "" {
				reasons, err := g.Engine().Refused(t.Context(), key)
				t.Errorf("%q did not come back from %s: %v %v", key, p.name, reasons, err)
				continue
			}
			got, want := s.cloud.read(t, back, key), s.native[key]
			if got.body != want.body || !same(shared(got.view()), shared(want.view())) {
				t.Errorf("%q came back from %s as\n%q, was\n%q", key, p.name, got.view(), want.view())
			}
		}
	}
}
