package normalize_test

import (
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

func TestSiblingsAreTheBucketsOfOneServerWithAllOfTheirPrefixes(t *testing.T) {
	store := func(name, endpoint, bucket, prefix string) normalize.Store {
		return normalize.StoreOf(config.Replica{Name: name, Provider: "gcs", Endpoint: endpoint, Bucket: bucket, Prefix: prefix}, "google")
	}
	all := []normalize.Store{
		store("a", "", "b", "p/"), store("a2", "", "b", "q/"), store("c", "", "b2", ""), store("e", "http://127.0.0.1:1", "b3", ""),
	}
	got := normalize.Siblings(all[0], all)
	if len(got) != 2 || got["b"].Name != "a" || got["b2"].Name != "c" {
		t.Fatalf("%+v", got)
	}
	for key, want := range map[string]bool{
		".bucketmesh/x": true, "p/.bucketmesh/x": true, "q/.bucketmesh/x": true, "r/.bucketmesh/x": false, "p/x": false, ".bucketmesh": false,
	} {
		if got["b"].Reserved(key) != want {
			t.Errorf("%q", key)
		}
	}
	if again := normalize.Siblings(all[1], all); again["b"].Name != "a2" || !again["b"].Reserved("p/.bucketmesh/x") {
		t.Errorf("%+v", again)
	}
	if all[0].Reserved("q/.bucketmesh/x") {
		t.Error("the stores that were given have changed")
	}
}

func TestStoresThatCannotWork(t *testing.T) {
	for _, s := range []normalize.Store{{}, {Name: "a/b", Source: "s", Bucket: "b"}, {Name: "a", Bucket: "b"}, {Name: "a", Source: "s"}} {
		if err := s.Validate(); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestBadKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"k": false, strings.Repeat("é", 512): false, strings.Repeat("k", 1025): true, "\xff": true, "a\x00b": true, "new\nline": false,
	} {
		if got := normalize.BadKey(key) != ""; got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}
