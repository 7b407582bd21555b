package object_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
)

// TestInputIsChecked: what can never work is Invalid, and costs no request.
func TestInputIsChecked(t *testing.T) {
	ctx := t.Context()
	var counter object.Counter
	caps := mem.New(mem.Config{MaxPut: 100}).Capabilities()
	caps.KeysAsPaths = true
	b := object.New(object.Count(mem.New(mem.Config{Capabilities: &caps}), &counter))
	m, _ := b.Multipart()
	putWith := func(o driver.PutOptions) func() error {
		return func() error { _, err := b.Put(ctx, "k", strings.NewReader("x"), &o); return err }
	}
	statOf := func(key string) func() error {
		return func() error { _, err := b.Stat(ctx, key, ""); return err }
	}
	for name, call := range map[string]func() error{
		"empty key":           statOf(""),
		"long key":            statOf(strings.Repeat("k", 1025)),
		"not UTF-8":           statOf("\xff"),
		"two slashes":         statOf("a//b"),
		"leading slash":       statOf("/a"),
		"dot segment":         statOf("a/./b"),
		"dot dot segment":     statOf("../a"),
		"negative size":       putWith(driver.PutOptions{Size: -1}),
		"size too small":      putWith(driver.PutOptions{Size: 0}),
		"size too large":      putWith(driver.PutOptions{Size: 2}),
		"above MaxPut":        putWith(driver.PutOptions{Size: 101}),
		"both conditions":     putWith(driver.PutOptions{Size: 1, If: driver.Precondition{NotExist: true, Match: "t"}}),
		"version without tag": putWith(driver.PutOptions{Size: 1, If: driver.Precondition{VersionID: "v"}}),
		"MD5 in base64":       putWith(driver.PutOptions{Size: 1, MD5: "1B2M2Y8AsgTpgAmY7PhCfg=="}),
		"SHA-256 upper case":  putWith(driver.PutOptions{Size: 1, SHA256: strings.Repeat("A", 64)}),
		"metadata key":        putWith(driver.PutOptions{Size: 1, Properties: driver.Properties{Metadata: map[string]string{"Upper": "x"}}}),
		"metadata key space":  putWith(driver.PutOptions{Size: 1, Properties: driver.Properties{Metadata: map[string]string{"a b": "x"}}}),
		"header injection":    putWith(driver.PutOptions{Size: 1, Properties: driver.Properties{CacheControl: "a\r\nX-Amz-Acl: public-read"}}),
		"negative offset":     func() error { _, _, err := b.Open(ctx, "k", &driver.ReadOptions{Offset: -1}); return err },
		"delete if absent": func() error {
			_, err := b.Delete(ctx, "k", &driver.DeleteOptions{If: driver.Precondition{NotExist: true}})
			return err
		},
		"delete version with condition": func() error {
			_, err := b.Delete(ctx, "k", &driver.DeleteOptions{VersionID: "v", If: driver.Precondition{Match: "t"}})
			return err
		},
		"part zero":       func() error { _, err := m.PutPart(ctx, "k", "id", 0, strings.NewReader("x"), 1); return err },
		"part 10,001":     func() error { _, err := m.PutPart(ctx, "k", "id", 10_001, strings.NewReader("x"), 1); return err },
		"part of nothing": func() error { _, err := m.PutPart(ctx, "k", "id", 1, nil, 0); return err },
		"no upload id":    func() error { _, err := m.ListParts(ctx, "k", ""); return err },
		"no parts":        func() error { _, err := m.Complete(ctx, "k", "id", nil, nil); return err },
		"parts out of order": func() error {
			_, err := m.Complete(ctx, "k", "id", []driver.Part{{Number: 2}, {Number: 1}}, nil)
			return err
		},
	} {
		if err := call(); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: got %v (kind %s), want invalid", name, err, errkind.Of(err))
		}
	}
	if n := counter.Snapshot().Total(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestErrorsAreNamedOnce: the operation and the key, once, and the kind of the driver.
func TestErrorsAreNamedOnce(t *testing.T) {
	b := object.New(object.New(object.New(mem.New(mem.Config{}))))
	_, err := b.Stat(t.Context(), "k", "")
	if got, want := err.Error(), `stat object "k": no such object`; got != want || !errkind.Is(err, errkind.NotFound) {
		t.Errorf("got %q (kind %s), want %q", got, errkind.Of(err), want)
	}
}

func TestProbeFindsLies(t *testing.T) {
	for name, c := range map[string]struct {
		lies      mem.Lies
		versioned bool
		level     driver.Level
		fit       bool
		finding   string
	}{
		"honest":                     {mem.Lies{}, true, driver.C2, true, ""},
		"honest, no versions":        {mem.Lies{}, false, driver.C2, true, "Switch versioning on"},
		"ignores create":             {mem.Lies{IgnorePutNotExist: true}, false, driver.C0, false, "put-if-none-match is not kept"},
		"ignores match":              {mem.Lies{IgnorePutMatch: true}, false, driver.C0, false, "put-if-match is not kept"},
		"ignores complete":           {mem.Lies{IgnoreComplete: true}, false, driver.C0, false, "complete-if-match is not kept"},
		"ignores delete":             {mem.Lies{IgnoreDelete: true}, false, driver.C0, false, "If-Match on delete is ignored"},
		"ignores delete, versions":   {mem.Lies{IgnoreDelete: true}, true, driver.C2, true, "looking below their delete marker"},
		"ignores match, versions":    {mem.Lies{IgnorePutMatch: true}, true, driver.C1, true, "put-if-match is not kept"},
		"marker counts as an object": {mem.Lies{MarkerExists: true}, true, driver.C2, false, "over a delete marker answers 412"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mem.New(mem.Config{Lies: c.lies, Versioned: c.versioned})
			r, err := object.Probe(t.Context(), object.WithPrefix(m, "replica/"), object.ProbeOptions{})
			if err != nil {
				t.Fatalf("probe: %v", err)
			}
			if r.Capabilities.Level != c.level || !strings.Contains(strings.Join(r.Findings, "\n"), c.finding) {
				t.Errorf("level %s, findings %q; want %s and %q", r.Capabilities.Level, r.Findings, c.level, c.finding)
			}
			err = object.Fit(r, true, false)
			if (err == nil) != c.fit || err != nil && !errkind.Is(err, errkind.Invalid) {
				t.Errorf("fit: %v, want fit %v", err, c.fit)
			}
			if c.lies.MarkerExists != (object.Fit(r, true, true) != nil) {
				t.Errorf("with acceptLossWindow: %v", object.Fit(r, true, true))
			}
			if err := object.Fit(r, false, false); err != nil {
				t.Errorf("fit for ReadOnly: %v", err)
			}
			if page, err := m.List(t.Context(), nil); err != nil || len(page.Objects) > 0 || m.Uploads() > 0 {
				t.Errorf("left behind: %+v, %d uploads, %v", page, m.Uploads(), err)
			}
		})
	}
}

// TestProbeCleansUpWhenItFails: the bucket breaks in the middle.
func TestProbeCleansUpWhenItFails(t *testing.T) {
	m := mem.New(mem.Config{Versioned: true})
	broken := object.Fault(m, object.Faults{Before: func(op object.Op, _ string) error {
		if op == object.OpComplete {
			return errkind.New(errkind.PermissionDenied, "denied")
		}
		return nil
	}})
	r, err := object.Probe(t.Context(), broken, object.ProbeOptions{})
	if !errkind.Is(err, errkind.PermissionDenied) || len(r.Findings) > 0 {
		t.Errorf("got %+v, %v, want permission denied", r, err)
	}
	if page, err := m.List(t.Context(), nil); err != nil || len(page.Objects) > 0 || m.Uploads() > 0 {
		t.Errorf("left behind: %+v, %d uploads, %v", page, m.Uploads(), err)
	}
}

// TestFitNamesTheMend: an operator reads this sentence.
func TestFitNamesTheMend(t *testing.T) {
	m := mem.New(mem.Config{Lies: mem.Lies{IgnoreDelete: true}})
	err := object.Fit(object.Report{Capabilities: m.Capabilities()}, true, false)
	const want = "check bucket for mode ReadWrite: it does not keep If-Match on delete (level C0), so a write that nobody saw could be lost; " +
		"switch versioning on, use a bucket that keeps it, make the replica ReadOnly, or set acceptLossWindow: true"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestProbePaysOneListingForVersioning: what a bucket keeps is looked up once, whatever the provider. (On a versioned one
// cleaning up lists each key.)
func TestProbePaysOneListingForVersioning(t *testing.T) {
	for name, cfg := range map[string]mem.Config{"S3": {}, "GCS": {UniqueTags: true, Generations: true}, "Azure": {UniqueTags: true}} {
		listings := 0
		var mu sync.Mutex
		b := object.Watch(mem.New(cfg), func(op object.Op, _ string, _ time.Duration, _ error) {
			mu.Lock()
			defer mu.Unlock()
			if op == object.OpVersions {
				listings++
			}
		})
		r, err := object.Probe(t.Context(), b, object.ProbeOptions{})
		if err != nil || listings != 1 || r.Capabilities.Versioned {
			t.Errorf("%s: %d listings of versions, report %+v, %v", name, listings, r, err)
		}
	}
}
