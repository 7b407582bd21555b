// Package drivertest is the conformance suite of drivers: every driver runs it on a real server (or on mem), and a driver's
// own test is some twenty lines that say how to get an empty bucket and what the server is expected to promise.
//
// Nothing is skipped: what a server can't do is known from its probed capabilities, and the suite asserts the other
// behaviour instead (a condition that can't be kept must be refused, a key that can't be stored must be refused whole).
//
// The suite may run on several buckets at once; it keeps no state between runs.
package drivertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Harness is what a driver gives the suite.
type Harness struct {
	// Open gives a driver on a bucket that nobody else uses and that is empty.
	Open func(t *testing.T) driver.Bucket
	// Want is what the probe has to find: Level, Versioned and the guards.
	Want driver.Capabilities
	// UniqueTags: a tag names the write and not the content.
	UniqueTags bool
	// SharedDeletes: of conditional deletes of one version at once, several may be told that they succeeded: the server
	// takes a delete of what is gone for a success, or answers all with the one delete marker.
	SharedDeletes bool
	// NoNesting: a key can't be below another one (a and a/b).
	NoNesting bool
	// RefusedKeys are those of NastyKeys that the server can't store. It must refuse them, as Invalid.
	RefusedKeys []string
	// Generations: a write has a version id on an unversioned bucket, too: it names the write (GCS).
	Generations bool
	// NoMarkers: a delete on a versioned bucket leaves no delete marker, and its answer names no version (GCS, Azure).
	NoMarkers bool
	// NoRequestIDs: the server gives its answers no ids.
	NoRequestIDs bool
	// Writers race for each condition; 0: 32.
	Writers int
	// Rounds of each race; 0: what BUCKETMESH_TEST_RACE_ROUNDS says, or 4 without it. (2 in short runs.)
	Rounds int
}

// rounds are how often each race is run.
func (h Harness) rounds(t *testing.T) int {
	t.Helper()
	if h.Rounds > 0 {
		return h.Rounds
	}
	if v := os.Getenv("BUCKETMESH_TEST_RACE_ROUNDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("BUCKETMESH_TEST_RACE_ROUNDS is %q: it must be a number of rounds such as 1000", v)
		}
		return n
	}
	if testing.Short() {
		return 2
	}
	return 4
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Writers == 0 {
		h.Writers = 32
	}
	h.Rounds = h.rounds(t)
	t.Run("Probe", h.probe)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"Bytes", testBytes},
		{"NastyKeys", testNastyKeys},
		{"Properties", testProperties},
		{"DefaultContentType", testDefaultContentType},
		{"MetadataOnlyEdit", testMetadataOnlyEdit},
		{"RangeRead", testRangeRead},
		{"PinnedRead", testPinnedRead},
		{"ErrorKinds", testErrorKinds},
		{"ChecksumOfAnotherBody", testWrongSums},
		{"Contexts", testContexts},
		{"PutConditions", testPutConditions},
		{"DeleteConditions", testDeleteConditions},
		{"DeleteSameBytesOtherVersion", testDeleteSameBytes},
		{"DeleteOverDeleteMarker", testDeleteOverMarker},
		{"LostAnswerIsNotRetried", testLostAnswer},
		{"RacePutIfNoneMatch", testRaceNotExist},
		{"RacePutIfMatch", testRaceMatch},
		{"RaceComplete", testRaceComplete},
		{"RaceDelete", testRaceDelete},
		{"RaceDeleteAgainstPut", testRaceDeletePut},
		{"Listing", testListing},
		{"ListingPages", testListingPages},
		{"Multipart", testMultipart},
		{"MultipartManyParts", testMultipartManyParts},
		{"MultipartConditions", testMultipartConditions},
		{"MultipartAbort", testMultipartAbort},
		{"Versions", testVersions},
		{"Prefix", testPrefix},
		{"Copy", testCopy},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, h.fixture(t)) })
	}
}

// guards are the fields of capabilities that a probe finds out.
func guards(c driver.Capabilities) driver.Capabilities {
	return driver.Capabilities{
		Level: c.Level, Versioned: c.Versioned, PutMatch: c.PutMatch, PutNotExist: c.PutNotExist,
		CompleteGuard: c.CompleteGuard, DeleteGuard: c.DeleteGuard, ReadMatch: c.ReadMatch, KeysAsPaths: c.KeysAsPaths,
	}
}

// probe must find out what the harness knows of its server, and leave nothing behind.
func (h Harness) probe(t *testing.T) {
	d := h.Open(t)
	report, err := object.Probe(t.Context(), d, object.ProbeOptions{})
	if err != nil {
		t.Fatalf("probe: %v", err)
	}
	if got, want := guards(report.Capabilities), guards(h.Want); got != want {
		t.Errorf("the probe found\n%+v, want\n%+v\nfindings: %q", got, want, report.Findings)
	}
	page, err := d.List(t.Context(), nil)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	if len(page.Objects) > 0 {
		t.Errorf("the probe left %q behind", keysOf(page))
	}
}

// fixture is one bucket of one test, with the capabilities that the harness promises (Probe proves them).
type fixture struct {
	*object.Bucket
	h     Harness
	parts driver.Multiparter
	vers  driver.Versioner
}

func (h Harness) fixture(t *testing.T) *fixture {
	t.Helper()
	d := h.Open(t)
	caps := d.Capabilities()
	caps.Level, caps.Versioned = h.Want.Level, h.Want.Versioned
	caps.PutMatch, caps.PutNotExist, caps.CompleteGuard = h.Want.PutMatch, h.Want.PutNotExist, h.Want.CompleteGuard
	caps.DeleteGuard, caps.ReadMatch, caps.KeysAsPaths = h.Want.DeleteGuard, h.Want.ReadMatch, h.Want.KeysAsPaths
	f := &fixture{Bucket: object.New(d).WithCapabilities(caps), h: h}
	var ok bool
	if f.parts, ok = f.Multipart(); !ok {
		t.Fatal("the driver has no multipart uploads")
	}
	if f.vers, ok = f.Bucket.Versions(); !ok {
		t.Fatal("the driver can't list versions")
	}
	return f
}

// put stores content and fails the test if it can't.
func (f *fixture) put(t *testing.T, key, content string, opts ...driver.PutOptions) *driver.Attrs {
	t.Helper()
	o := driver.PutOptions{}
	if len(opts) > 0 {
		o = opts[0]
	}
	o.Size = int64(len(content))
	a, err := f.Put(t.Context(), key, bytes.NewReader([]byte(content)), &o)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	if a.ETag == "" || a.Tag == "" {
		t.Fatalf("put %q answered without a tag: %+v", key, a)
	}
	return a
}

// tryPut is put for a write that may fail.
func (f *fixture) tryPut(ctx context.Context, key, content string, cond driver.Precondition) error {
	_, err := f.Put(ctx, key, bytes.NewReader([]byte(content)), &driver.PutOptions{Size: int64(len(content)), If: cond})
	return err
}

func (f *fixture) stat(t *testing.T, key string) *driver.Attrs {
	t.Helper()
	a, err := f.Stat(t.Context(), key, "")
	if err != nil {
		t.Fatalf("stat %q: %v", key, err)
	}
	return a
}

// read is the whole content, and the attributes that came with it.
func (f *fixture) read(t *testing.T, key string, opts *driver.ReadOptions) (string, *driver.Attrs) {
	t.Helper()
	r, a, err := f.Open(t.Context(), key, opts)
	if err != nil {
		t.Fatalf("open %q: %v", key, err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(data), a
}

// holds asserts the current content.
func (f *fixture) holds(t *testing.T, key, want string) {
	t.Helper()
	if got, _ := f.read(t, key, nil); got != want {
		t.Errorf("%q holds %q, want %q", key, got, want)
	}
}

// absent asserts that the key is not there.
func (f *fixture) absent(t *testing.T, key string) {
	t.Helper()
	_, err := f.Stat(t.Context(), key, "")
	kind(t, err, errkind.NotFound, "stat of a missing key")
}

func kind(t *testing.T, err error, want errkind.Kind, what string) {
	t.Helper()
	if !errkind.Is(err, want) {
		t.Errorf("%s: got error %v (kind %s), want kind %s", what, err, errkind.Of(err), want)
	}
}

// race starts n writers at one barrier and returns their errors.
func race(n int, write func(n int) error) []error {
	results := make([]error, n)
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			results[i] = write(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return results
}

// winners are the numbers of those who succeeded. Losing must be PreconditionFailed or Conflict.
func winners(t *testing.T, results []error) []int {
	t.Helper()
	var won []int
	for i, err := range results {
		switch {
		case err == nil:
			won = append(won, i)
		case !errkind.Is(err, errkind.PreconditionFailed) && !errkind.Is(err, errkind.Conflict):
			t.Errorf("writer %d lost with %v (kind %s), want precondition failed or conflict", i, err, errkind.Of(err))
		}
	}
	return won
}

func keysOf(p *driver.Page) []string {
	var keys []string
	for i := range p.Objects {
		keys = append(keys, p.Objects[i].Key)
	}
	return keys
}

// refused tells whether the harness knows that its server can't store key.
func (f *fixture) refused(key string) bool { return slices.Contains(f.h.RefusedKeys, key) }
