package azblob

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// keys are metadata keys as all providers share them, many of them with what looks like an escape.
func keys() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching("[a-z0-9\\-_.!#$%&'*+^`|~]{1,24}"),
		rapid.StringMatching("(_|x|2d|5f|30|_x2d_|_x5f_|-|a|0){1,12}"),
	)
}

func TestMetadataNamesComeBack(t *testing.T) {
	identifier := regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)
	rapid.Check(t, func(t *rapid.T) {
		k := keys().Draw(t, "key")
		name := encodeName(k)
		if !identifier.MatchString(name) {
			t.Fatalf("%q is sent as %q, which is no identifier", k, name)
		}
		if got := decodeName(name); got != k {
			t.Fatalf("%q came back as %q (sent %q)", k, got, name)
		}
		if got := decodeName(strings.ToUpper(name)); got != k {
			t.Fatalf("in upper case, %q came back as %q", k, got)
		}
	})
}

func TestMetadataNamesDoNotCollide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := keys().Draw(t, "a"), keys().Draw(t, "b")
		if a != b && encodeName(a) == encodeName(b) {
			t.Fatalf("%q and %q are both sent as %q", a, b, encodeName(a))
		}
		if encodeName(a) == expiresName {
			t.Fatalf("%q is sent as the driver's own name", a)
		}
	})
}

// TestForeignMetadataNamesStay: a name that the driver would not have made is a user's own. It is the same after a round trip.
func TestForeignMetadataNamesStay(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "plain", "CamelCase": "camelcase", "content_x2d_hash": "content-hash", "_x30_day": "0day",
		"a_x41_b": "a_x41_b", "day_x30_": "day_x30_", "a_x2d": "a_x2d", "_x": "_x", "a__b": "a__b", "a_xzz_b": "a_xzz_b", "a_x5f_b": "a_x5f_b",
	} {
		got := decodeName(name)
		if got != want {
			t.Errorf("%q is read as %q, want %q", name, got, want)
		}
		if again := decodeName(encodeName(got)); again != got {
			t.Errorf("%q is %q after a round trip", got, again)
		}
	}
	if got := encodeName("bucketmesh_expires"); got == expiresName || decodeName(got) != "bucketmesh_expires" {
		t.Errorf("a user's bucketmesh_expires is sent as %q", got)
	}
}

func TestKeysThatNoBlobCanHave(t *testing.T) {
	for key, good := range map[string]bool{
		"a": true, "a//b": true, "/lead": true, "dir/": true, " lead": true, "trail ": true, "a.b": true, ".hidden": true, "a%2Fb": true,
		strings.Repeat("日", 1024): true, strings.Repeat("日", 1025): false,
		strings.Repeat("\U0001F600", 512): true, strings.Repeat("\U0001F600", 513): false,
		strings.Repeat("a/", 253) + "a": true, strings.Repeat("a/", 254) + "a": false,
		"a.": false, "a./b": false, ".": false, "..": false, "a/../b": false, "back\\slash": false,
		"new\nline": false, "del\x7f": false, "c1\u0081": false, "non\uffffcharacter": false, "not \xff UTF-8": false,
	} {
		if err := checkKey(key); (err == nil) != good || err != nil && !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%.40q: %v, want good: %v", key, err, good)
		}
	}
}

// TestPropertiesThatAzureCantHold are refused before anything is sent.
func TestPropertiesThatAzureCantHold(t *testing.T) {
	eleven := map[string]string{}
	for i := range 11 {
		eleven[strings.Repeat("k", i+1)] = "v"
	}
	for name, p := range map[string]driver.Properties{
		"eleven tags":         {Tags: eleven},
		"a long tag key":      {Tags: map[string]string{strings.Repeat("k", 129): ""}},
		"a long tag value":    {Tags: map[string]string{"k": strings.Repeat("v", 257)}},
		"a tag with @":        {Tags: map[string]string{"mail": "a@b"}},
		"a tag in Japanese":   {Tags: map[string]string{"日": "x"}},
		"a type with ü":       {ContentType: "text/ü"},
		"spaces at the end":   {CacheControl: "no-cache "},
		"9 KiB of metadata":   {Metadata: map[string]string{"k": strings.Repeat("v", 9<<10)}},
		"7 KiB, which grow":   {Metadata: map[string]string{"k": strings.Repeat("ü", 7<<9)}},
		"a line break inside": {ContentDisposition: "a\nb"},
	} {
		if _, err := encode(p); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

// TestListingOrder: what a listing may look like, and what would make a merge take keys that are there for missing.
func TestListingOrder(t *testing.T) {
	for name, c := range map[string]struct {
		after     string
		continued bool
		keys      []string
		want      []string // nil: refused
	}{
		"in order":                       {"", false, []string{"a", "b"}, []string{"a", "b"}},
		"startFrom is inclusive":         {"a", false, []string{"a", "b"}, []string{"b"}},
		"startFrom is ignored":           {"b", false, []string{"a", "b", "c"}, []string{"c"}},
		"the key is gone":                {"b", false, []string{"c"}, []string{"c"}},
		"back":                           {"", false, []string{"b", "a"}, nil},
		"twice":                          {"", false, []string{"a", "a"}, nil},
		"UTF-16 within a page":           {"", false, []string{"\U0001F600", "\uff21"}, nil},
		"UTF-16 after a key that is not": {"\U0001F600", false, []string{"\uff21"}, nil},
		"a marker that goes back":        {"b", true, []string{"a"}, nil},
		"UTF-16 across pages":            {"\U0001F600", true, []string{"\uff21"}, nil},
	} {
		o := order{after: c.after, last: c.after, continued: c.continued}
		var got []string
		var failed error
		for _, k := range c.keys {
			keep, err := o.next(k)
			if err != nil {
				failed = err
				break
			}
			if keep {
				got = append(got, k)
			}
		}
		if c.want == nil != errkind.Is(failed, errkind.Unsupported) || c.want != nil && strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: %q, %v; want %q", name, got, failed, c.want)
		}
	}
}

func TestMarksAreBounded(t *testing.T) {
	var m marks
	var e ended
	for i := range 3 * maxEnded {
		m.put("p", strings.Repeat("x", i%300)+string(rune('a'+i%26)), "m")
		e.add(newUpload())
	}
	if len(m.known) > maxMarks || len(m.order) != len(m.known) || len(e.ids) > maxEnded || len(e.order) != len(e.ids) {
		t.Errorf("%d and %d marks, %d and %d uploads", len(m.known), len(m.order), len(e.ids), len(e.order))
	}
}

func TestBlockIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := block{upload: newUpload(), number: rapid.IntRange(1, maxParts).Draw(t, "number")}
		copy(b.md5[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "md5"))
		b.sent = b.sent.UTC().AddDate(2025, 0, rapid.IntRange(0, 9999).Draw(t, "days"))
		id := b.id()
		if len(id) != 60 {
			t.Fatalf("the id %q has %d characters", id, len(id))
		}
		got, ok := parseBlock(id)
		if !ok || got.id() != id || got.upload != b.upload || got.number != b.number {
			t.Fatalf("%+v came back as %+v", b, got)
		}
		meant, ok := parsePart(b.upload, b.number, b.etag())
		if !ok || meant.id() != id {
			t.Fatalf("the part's ETag %q means %+v, not %+v", b.etag(), meant, b)
		}
	})
	for _, id := range []string{"", "AAAA", "not base64", strings.Repeat("A", 88)} {
		if b, ok := parseBlock(id); ok {
			t.Errorf("%q is taken for %+v", id, b)
		}
	}
}
