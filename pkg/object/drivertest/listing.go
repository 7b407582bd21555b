package drivertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// all follows a listing to its end.
func all(t *testing.T, b driver.Bucket, opts driver.ListOptions) (keys []string, pages int) {
	t.Helper()
	for {
		p, err := b.List(t.Context(), &opts)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		pages++
		if opts.Limit > 0 && len(p.Objects) > opts.Limit {
			t.Fatalf("%d objects in a page of %d", len(p.Objects), opts.Limit)
		}
		keys = append(keys, keysOf(p)...)
		if p.Next == "" {
			return keys, pages
		}
		if p.Next <= opts.After {
			t.Fatalf("the listing goes back from %q to %q", opts.After, p.Next)
		}
		opts.After = p.Next
	}
}

func testListing(t *testing.T, f *fixture) {
	// The byte order of the whole key: "a-" < "a.b" < "a/b" < "a0", upper before lower case, UTF-8 last.
	want := []string{"B", "a!", "a-", "a.b", "a/b", "a/c/d", "a0", "b", "b c", "b+c", "é", "日本", "\U0001F600"}
	for _, i := range []int{5, 0, 12, 3, 7, 1, 11, 9, 2, 10, 4, 8, 6} {
		f.put(t, want[i], strings.Repeat("x", i))
	}
	f.put(t, "deleted", "x")
	if _, err := f.Delete(t.Context(), "deleted", nil); err != nil {
		t.Fatalf("delete: %v", err)
	}
	page, err := f.List(t.Context(), nil)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	if got := keysOf(page); !slices.Equal(got, want) || page.Next != "" {
		t.Fatalf("listed %q (next %q), want %q", got, page.Next, want)
	}
	for i, o := range page.Objects {
		s := f.stat(t, o.Key)
		if o.Size != int64(i) || o.ETag != s.ETag || o.Tag != s.Tag || o.ModTime.Unix() != s.ModTime.Unix() {
			t.Errorf("listed %+v, stat %+v", o, s)
		}
	}
	for opts, want := range map[driver.ListOptions][]string{
		{Prefix: "a/"}:               {"a/b", "a/c/d"},
		{Prefix: "a", After: "a.b"}:  {"a/b", "a/c/d", "a0"},
		{After: "b+c"}:               {"é", "日本", "\U0001F600"},
		{After: "b+"}:                {"b+c", "é", "日本", "\U0001F600"}, // a key that isn't there
		{Prefix: "no such"}:          nil,
		{Prefix: "a/", After: "a/z"}: nil,
	} {
		if got, _ := all(t, f, opts); !slices.Equal(got, want) {
			t.Errorf("listed %q for %+v, want %q", got, opts, want)
		}
	}
}

func testListingPages(t *testing.T, f *fixture) {
	var want []string
	for i := range 23 {
		key := fmt.Sprintf("dir %d/key+%02d", i%3, i)
		f.put(t, key, "x")
		want = append(want, key)
	}
	slices.Sort(want)
	for _, limit := range []int{0, 1, 5, 23, 100} {
		got, pages := all(t, f, driver.ListOptions{Limit: limit})
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q, want %q", limit, got, want)
		}
		if limit == 1 && pages < 23 {
			t.Errorf("%d pages of 1", pages)
		}
	}
}

// testPrefix: a replica can be a part of a bucket.
func testPrefix(t *testing.T, f *fixture) {
	b := object.New(object.WithPrefix(f.Bucket, "team a/"))
	f.put(t, "outside", "x")
	if !f.h.NoNesting {
		f.put(t, "team a", "x")
	}
	in := &fixture{Bucket: b, h: f.h}
	a := in.put(t, "k", "inside")
	if a.Key != "k" || in.stat(t, "k").Key != "k" {
		t.Errorf("the key inside is %q", a.Key)
	}
	in.holds(t, "k", "inside")
	f.holds(t, "team a/k", "inside")
	in.put(t, "l", "x")
	if got, _ := all(t, b, driver.ListOptions{Limit: 1}); !slices.Equal(got, []string{"k", "l"}) {
		t.Errorf("listed %q", got)
	}
	if got, want := b.Capabilities().MaxKey, f.Capabilities().MaxKey-len("team a/"); got != want {
		t.Errorf("keys of %d bytes, want %d", got, want)
	}
	vers, ok := b.Versions()
	if !ok {
		t.Fatal("the prefix lost the versions")
	}
	if vs, err := vers.Versions(t.Context(), "k"); err != nil || len(vs) != 1 || vs[0].Key != "k" {
		t.Errorf("versions %+v, %v", vs, err)
	}
	if _, ok := b.Multipart(); !ok {
		t.Error("the prefix lost the multipart uploads")
	}
	if _, err := b.Delete(t.Context(), "k", nil); err != nil {
		t.Errorf("delete: %v", err)
	}
	f.absent(t, "team a/k")
	f.holds(t, "outside", "x")
}
