package worker_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// A directory that was renamed or removed is told of once, and not key by key.
func TestKeysOfAChangedDirectoryAreFound(t *testing.T) {
	b := newBench(t).mustOpen()
	sync := func(keys ...string) {
		t.Helper()
		for _, key := range keys {
			if _, err := b.Engine().Reconcile(t.Context(), key, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.put("one", "old/a", "a")
	b.put("one", "other/b", "b")
	sync("old/a", "other/b")

	// What nobody tells of: old became new, and something outside of both was written.
	b.put("one", "new/a", "a")
	b.put("one", "other/c", "c")
	if _, err := b.buckets["one"].Delete(t.Context(), "old/a", &driver.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the event may come twice
		for _, prefix := range []string{"old/", "new/"} {
			if err := b.Below(t.Context(), "a", prefix); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"old/a": "", "new/a": "a", "other/b": "b", "other/c": ""} {
		if got := b.get("two", key); got != want {
			t.Errorf("%s holds %q, want %q", key, got, want)
		}
	}
	if err := b.Below(t.Context(), "nobody", ""); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("an unknown replica: %v", err)
	}
}
