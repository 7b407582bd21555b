package conformance_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// A key that one cloud can't hold stays out of it: with the reason in a dead letter and in the audit log, at all other replicas,
// and in nobody's way. When the object is mended, the letter can be replayed.
func TestKeyThatACloudCannotHold(t *testing.T) {
	prefix := strings.Repeat("p", 200)
	f := newFleet(t, fleetOptions{azurePrefix: prefix})
	long := strings.Repeat(strings.Repeat("l", 99)+"/", 9) // fits everywhere but below the prefix: 1,024 characters are Azure's limit
	cases := []struct {
		key, at string
		refuses []string
		why     string
	}{
		{"report.", minio, []string{azureCloud}, "it drops dots at the end of a name"},
		{"a//b", gcsCloud, []string{minio, minioB}, "it keeps objects as files"},
		{long + "x", minio, []string{azureCloud}, "the limit is 1024"},
	}
	for _, c := range cases {
		p := f.sites[c.at]
		if err := p.cloud.write(t.Context(), p.bucket, c.key, plain(func(*thing) {})); err != nil {
			t.Fatal(err)
		}
	}
	f.others(t, "meanwhile", prefix)
	letters := 0
	for _, c := range cases {
		for name := range f.sites {
			if slices.Contains(c.refuses, name) {
				continue
			}
			cluster.Eventually(t, c.key+" is at "+name, func() bool { return f.has(t, name, c.key, prefix) })
		}
		for _, name := range c.refuses {
			letters++
			reason := f.letter(t, c.key, name).Reason
			for _, words := range []string{c.why, "rename or mend the object"} {
				if !strings.Contains(reason, words) {
					t.Errorf("the letter about %q does not say %q: %s", c.key, words, reason)
				}
			}
			if !f.audited(t, c.key, name, c.why) {
				t.Errorf("the audit log does not say that %s refuses %q", name, c.key)
			}
			if f.has(t, name, c.key, prefix) {
				t.Errorf("%s has %q", name, c.key)
			}
		}
	}
	if all, err := f.DeadLetters(t.Context(), 10); err != nil || len(all) != letters {
		t.Errorf("%d letters, want %d, %v", len(all), letters, err)
		for _, l := range all {
			t.Logf("%s %s", l.Reason, l.Event)
		}
	}

	// Replayed before it is mended, a letter is back.
	if n, err := f.Replay(t.Context()); err != nil || n != letters {
		t.Fatalf("replayed %d, %v", n, err)
	}
	for _, c := range cases {
		for _, name := range c.refuses {
			f.letter(t, c.key, name)
		}
	}
	for _, c := range cases {
		p := f.sites[c.at]
		p.cloud.remove(t, p.bucket, c.key)
		for name := range f.sites {
			cluster.Eventually(t, c.key+" is gone from "+name, func() bool { return !f.has(t, name, c.key, prefix) })
		}
	}
	cluster.Eventually(t, "the letters are replayed for good", func() bool {
		if _, err := f.Replay(t.Context()); err != nil {
			t.Fatal(err)
		}
		letters, err := f.DeadLetters(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(letters) == 0 && len(s.DirtyKeys) == 0
	})
	f.others(t, "afterwards", prefix)
}

// others makes sure that other keys go on, from and to every replica.
func (f *fleet) others(t *testing.T, name, azurePrefix string) {
	t.Helper()
	for at, p := range f.sites {
		key := name + "/" + at
		if at == azureCloud {
			key = azurePrefix + "/" + key
		}
		if err := p.cloud.write(t.Context(), p.bucket, key, plain(func(*thing) {})); err != nil {
			t.Fatal(err)
		}
	}
	for from := range f.sites {
		for at := range f.sites {
			cluster.Eventually(t, name+" of "+from+" is at "+at, func() bool { return f.has(t, at, name+"/"+from, azurePrefix) })
		}
	}
}

func (f *fleet) has(t *testing.T, replica, key, azurePrefix string) bool {
	t.Helper()
	if replica == azureCloud && azurePrefix != "" {
		key = azurePrefix + "/" + key
	}
	_, ok := f.contents(t, replica)[key]
	return ok
}

// letter waits for the dead letter about a key.
func (f *fleet) letter(t *testing.T, key, replica string) deadletter.Letter {
	t.Helper()
	var found deadletter.Letter
	cluster.Eventually(t, "there is a letter about "+key, func() bool {
		letters, err := f.DeadLetters(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range letters {
			if strings.Contains(l.Reason, `"`+key+`" can't be synchronized with replica `+replica+":") {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

// audited says whether the audit log has the failure.
func (f *fleet) audited(t *testing.T, key, replica, why string) bool {
	t.Helper()
	entries, err := f.Audit().Range(t.Context(), 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if text := string(e.Event.JSON); e.Type == event.SyncFailed && strings.Contains(text, `"`+key+`"`) && strings.Contains(text, why) &&
			strings.Contains(text, `"`+replica+`"`) {
			return true
		}
	}
	return false
}
