package conformance_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// trap is a key that some program on the way escapes once too often, or once too rarely, or takes for the name of a file.
type trap struct {
	key string
	not []string // replicas whose server can't hold it
	// listed is the name under which a replica lists it, if that is another one.
	listed map[string]string
}

func (k trap) at(replica string) string { return cmp.Or(k.listed[replica], k.key) }

func traps() []trap {
	asFiles := []string{minio, minioB, versitygw}
	long := func(unit string) string { // parts of less than 255 bytes: some servers keep them as files
		part := strings.Repeat(unit, 180/len(unit)) + "/"
		s := strings.Repeat(part, 5)
		rest := 1024 - len(s)
		return s + strings.Repeat(unit, rest/len(unit)/2) + "/" + strings.Repeat(unit, rest/len(unit)/2-1)
	}
	return []trap{
		{key: "a b"}, {key: "a+b"}, {key: "a%2Bb"}, {key: "100%25"}, {key: "\u00e9"}, {key: "e\u0301"}, {key: "日本/😀"},
		{key: "trailing "}, {key: " leading"}, {key: "q?uestion#hash&amp=1"}, {key: `"'<>[]{}|^~*:`},
		{key: long("k")}, {key: long("日")},
		{key: "a//b", not: asFiles},
		{key: "./a", not: append([]string{azureCloud}, asFiles...)},
		{key: "a/../b", not: append([]string{azureCloud}, asFiles...)},
		{key: "dot.", not: []string{azureCloud}},
		{key: `back\slash`, not: []string{azureCloud}},
		{key: "line\nbreak", not: []string{gcsCloud, azureCloud}},
		{key: "c1\u0085", not: []string{azureCloud}},
		// No XML can name it: versitygw keeps the object, and lists it under another name.
		{key: "bell\a", not: []string{azureCloud}, listed: map[string]string{versitygw: "bell\ufffd"}},
	}
}

// Every trap key, written at each server with its plain SDK and told by each way that its notifications come, arrives under the
// same key at every replica that can hold it, and at no other.
func TestTrapKeysThroughEveryChannel(t *testing.T) {
	f := newFleet(t, fleetOptions{versitygw: true})
	for _, from := range []string{minio, versitygw, gcsCloud, azureCloud} {
		t.Run("From"+strings.ToUpper(from), func(t *testing.T) {
			p := f.sites[from]
			want := map[string]thing{}
			for _, k := range traps() {
				if slices.Contains(k.not, from) {
					continue
				}
				o := plain(func(o *thing) { o.body = from + " wrote " + k.key })
				if err := p.cloud.write(t.Context(), p.bucket, k.key, o); err != nil {
					t.Errorf("write %q: %v", k.key, err)
					continue
				}
				want[k.key] = o
			}
			for _, k := range traps() {
				if _, written := want[k.key]; !written {
					continue
				}
				cluster.Eventually(t, "there is an event for "+k.key, func() bool { return f.heard(from, k.key) > 0 })
				for at, to := range f.sites {
					if slices.Contains(k.not, at) {
						continue
					}
					cluster.Eventually(t, k.key+" is at "+at, func() bool {
						_, there := f.contents(t, at)[k.at(at)]
						return there && to.cloud.read(t, to.bucket, k.key).body == want[k.key].body
					})
				}
			}
			for at := range f.sites {
				for key := range f.contents(t, at) {
					if !slices.ContainsFunc(traps(), func(k trap) bool { return k.at(at) == key && !slices.Contains(k.not, at) }) {
						t.Errorf("%s has %q, which nobody wrote", at, key)
					}
				}
			}
		})
	}
}
