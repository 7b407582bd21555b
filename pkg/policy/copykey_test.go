package policy_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

func TestCopyKey(t *testing.T) {
	for _, tc := range []struct {
		key  string
		id   version.ID
		want string
	}{
		{"a/b.txt", "us@1", ".conflicts/a/b.txt/us@1"},
		{"größe/日本.txt", "eu-1@42", ".conflicts/größe/日本.txt/eu-1@42"},
		{"a", "~@3", ".conflicts/a/~@3"},
		{"folder/", "us@1", ".conflicts/folder/!/us@1"},
		{"/rooted", "us@1", ".conflicts/!/rooted/us@1"},
		{"a//b", "us@1", ".conflicts/a/!/b/us@1"},
		{"a/../b/.", "us@1", ".conflicts/a/!../b/!./us@1"},
		{".", "us@1", ".conflicts/!./us@1"},
		{"", "us@1", ".conflicts/!/us@1"},
		{".hidden/..rc", "us@1", ".conflicts/.hidden/..rc/us@1"},
		{"!/!a", "us@1", ".conflicts/!!/!!a/us@1"},
		{".conflicts/a/us@1", "eu@2", ".conflicts/.conflicts/a/us@1/eu@2"},
	} {
		if got := policy.CopyKey(tc.key, tc.id); got != tc.want {
			t.Errorf("CopyKey(%q, %q) = %q, want %q", tc.key, tc.id, got, tc.want)
		}
	}
}

func TestCopyKeyOfLongKeys(t *testing.T) {
	longest := strings.Repeat("k", 1024)
	for name, keys := range map[string][2]string{
		"differ in the last byte":     {longest[:1023] + "a", longest[:1023] + "b"},
		"multi-byte runes at the cut": {strings.Repeat("日", 341), strings.Repeat("日", 340) + "本"},
		"four-byte runes":             {strings.Repeat("🪣", 256), strings.Repeat("🪣", 255) + "🧺"},
		"slashes at the cut":          {strings.Repeat("a/", 512), strings.Repeat("a/", 511) + "b/"},
		"empty segments at the cut":   {strings.Repeat("/", 1024), strings.Repeat("/", 1023)},
		"dots at the cut":             {strings.Repeat("../", 341), strings.Repeat("../", 340) + "./"},
		"hidden files at the cut":     {strings.Repeat("/.a", 341), strings.Repeat("/.a", 340) + "/.b"},
		"not UTF-8":                   {strings.Repeat("\x80", 1024), strings.Repeat("\x80", 1023) + "\x81"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := policy.CopyKey(keys[0], "us@1"), policy.CopyKey(keys[1], "us@1")
			if a == b {
				t.Errorf("both are %q", a)
			}
			for _, k := range []string{a, b} {
				checkCopyKey(t, k, "us@1")
			}
			if utf8.ValidString(keys[0]) && !utf8.ValidString(a) {
				t.Errorf("a rune was cut: %q", a)
			}
		})
	}
}

func TestCopyKeyHashesIDsThatAreNoSegments(t *testing.T) {
	seen := map[string]version.ID{}
	for _, id := range []version.ID{"", ".", "..", "us/1", "us 1", "us\n1", "größe@1", version.ID(strings.Repeat("x", 2000)), version.ID(strings.Repeat("x", 2001))} {
		k := policy.CopyKey("a", id)
		if !strings.HasPrefix(k, ".conflicts/a/!sha256-") {
			t.Errorf("CopyKey(a, %q) = %q", id, k)
		}
		checkCopyKey(t, k, "")
		if other, ok := seen[k]; ok {
			t.Errorf("%q and %q have one key", id, other)
		}
		seen[k] = id
	}
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

func checkCopyKey(t failer, k string, id version.ID) {
	t.Helper()
	if len(k) > 1024 {
		t.Errorf("%d bytes: %q", len(k), k)
	}
	if !strings.HasPrefix(k, policy.CopyPrefix) || !strings.HasSuffix(k, "/"+string(id)) && id != "" {
		t.Errorf("%q is not a conflict copy of %q", k, id)
	}
	for s := range strings.SplitSeq(k, "/") {
		if s == "" || s == "." || s == ".." {
			t.Errorf("segment %q in %q", s, k)
		}
	}
}

func genKey(t *rapid.T, label string) string {
	segment := rapid.SampledFrom([]string{"", ".", "..", "!", "!!", "!.", "a", "us@1", ".conflicts", "日本", strings.Repeat("x", 250), strings.Repeat("🪣", 60)})
	return strings.Join(rapid.SliceOfN(segment, 1, 9).Draw(t, label), "/")
}

func TestCopyKeyIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genKey(t, "a"), genKey(t, "b")
		x, y := ids.Draw(t, "x"), ids.Draw(t, "y")
		ka, kb := policy.CopyKey(a, x), policy.CopyKey(b, y)
		checkCopyKey(t, ka, x)
		if ka != policy.CopyKey(a, x) {
			t.Fatal("not deterministic")
		}
		if (ka == kb) != (a == b && x == y) {
			t.Fatalf("CopyKey(%q, %q) = %q\nCopyKey(%q, %q) = %q", a, x, ka, b, y, kb)
		}
		// A copy can itself be in conflict, for ever.
		for range 20 {
			ka = policy.CopyKey(ka, x)
			checkCopyKey(t, ka, x)
		}
	})
}

func TestCopyKeyKeepsRunesWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringN(200, 1200, 1400).Draw(t, "key")
		k := policy.CopyKey(key, "us@1")
		checkCopyKey(t, k, "us@1")
		if utf8.ValidString(key) && !utf8.ValidString(k) {
			t.Fatalf("a rune was cut: %q", k)
		}
	})
}

func FuzzCopyKey(f *testing.F) {
	f.Add("a/b", "us@1")
	f.Add("//", "..")
	f.Add(strings.Repeat("é", 600), "eu@18446744073709551615")
	f.Fuzz(func(t *testing.T, key, id string) {
		checkCopyKey(t, policy.CopyKey(key, version.ID(id)), "")
	})
}
