package event_test

import (
	"encoding/json"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/event"
)

func FuzzSubject(f *testing.F) {
	for _, k := range trapKeys {
		f.Add(k)
		f.Add(event.EncodeSubject(k))
	}
	f.Fuzz(func(t *testing.T, s string) {
		enc := event.EncodeSubject(s)
		for i := range len(enc) {
			if enc[i] <= ' ' || enc[i] > '~' {
				t.Fatalf("%q: encoded as %q", s, enc)
			}
		}
		if dec, err := event.DecodeSubject(enc); err != nil || dec != s {
			t.Fatalf("%q: decoded as %q, %v", s, dec, err)
		}
		if dec, err := event.DecodeSubject(s); err == nil && event.EncodeSubject(dec) != s {
			t.Fatalf("%q: two spellings of %q", s, dec)
		}
	})
}

func FuzzSequence(f *testing.F) {
	for _, s := range []string{"0055AED6DCD90281E5", "18E9CFD1005C75A8", "F7E6D75DC742D108", "", "zz", "ſ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{event.HexSequence(s), event.PairSequence(s)} {
			if got == "" {
				continue
			}
			if len(got) != 48 || event.HexSequence(got) != got {
				t.Fatalf("%q becomes %q", s, got)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	e, err := event.NewObject(meta, event.Object{Bucket: "b", Key: "k", Native: json.RawMessage(`{"x":1}`)})
	if err != nil {
		f.Fatal(err)
	}
	b, err := event.Encode(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := event.Decode(b)
		if err != nil {
			return
		}
		// Whatever decodes can be read or refused, and encoded again.
		if o, err := event.ObjectOf(e); err == nil {
			if _, err := o.RawKey(); err != nil {
				return
			}
			m := meta
			m.Type = e.Type()
			if n, err := event.NewObject(m, o); err == nil {
				if out, err := event.Encode(n); err != nil || len(out) >= event.MaxSize {
					t.Fatalf("%d bytes, %v", len(out), err)
				}
			}
		}
	})
}
