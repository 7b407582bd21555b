package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

var recorded = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// list is a log that anybody can change.
type list []audit.Entry

func (l list) Append(context.Context, audit.Event) error { return errors.ErrUnsupported }

func (l list) AppendBatch(context.Context, []audit.Event) (int, error) {
	return 0, errors.ErrUnsupported
}

func (l list) Range(_ context.Context, after int64, limit int) ([]audit.Entry, error) {
	after = min(after, int64(len(l)))
	return l[after:min(after+int64(limit), int64(len(l)))], nil
}

func (l list) Head(context.Context) (audit.Head, error) {
	if len(l) == 0 {
		return audit.Head{}, nil
	}
	return audit.Head{Seq: int64(len(l)), Hash: l[len(l)-1].Hash}, nil
}

func chain(subjects ...string) (l list) {
	var head audit.Head
	for i, s := range subjects {
		e := audit.Next(head, audit.Event{
			Source: "https://s3.example/media", ID: fmt.Sprint(i), Type: "dev.bucketmesh.object.written.v1", Subject: s,
			Time: recorded.Add(-time.Second), JSON: []byte(`{"id":"x"}`),
		}, recorded)
		l, head = append(l, e), audit.Head{Seq: e.Seq, Hash: e.Hash}
	}
	return l
}

// TestVerifyRewritten: a log that somebody wrote anew from an entry to the end is sound in itself. Only a head that was
// remembered outside shows it.
func TestVerifyRewritten(t *testing.T) {
	old, forged := chain("a", "b", "c", "d"), chain("a", "B", "c", "d", "e")
	if _, err := audit.Verify(t.Context(), forged, audit.VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	for seq, broken := range map[int]bool{1: false, 2: true, 3: true, 4: true} {
		_, err := audit.Verify(t.Context(), forged, audit.VerifyOptions{Expect: audit.Head{Seq: int64(seq), Hash: old[seq-1].Hash}})
		if !broken {
			if err != nil {
				t.Errorf("head %d: %v", seq, err)
			}
			continue
		}
		var b *audit.Broken
		if !errors.As(err, &b) || b.Seq != int64(seq) || !strings.Contains(b.Reason, "rewritten") {
			t.Errorf("head %d: error is %v", seq, err)
		}
	}
}

// TestVerifySpliced: an entry that is sound in itself, in a chain that is not its own.
func TestVerifySpliced(t *testing.T) {
	l, other := chain("a", "b", "c"), chain("A", "b", "c")
	l[1] = other[1]
	_, err := audit.Verify(t.Context(), l, audit.VerifyOptions{})
	var b *audit.Broken
	if !errors.As(err, &b) || b.Seq != 2 || !strings.Contains(b.Reason, "does not follow") {
		t.Errorf("error is %v", err)
	}
}

// TestSumIsStable: the form of what is hashed is a promise to all logs that were ever written.
func TestSumIsStable(t *testing.T) {
	l := chain("a", "b")
	for i, want := range []string{
		"0ed41a48d131bf84e90beb76004eb9ddb1ab3a1953bd110cebec94992ee2962c",
		"02fdef4da7b65868b79fba3b2e8649b25632e07917f394445b73fec0b0eb9566",
	} {
		if got := l[i].Hash.String(); got != want {
			t.Errorf("hash of entry %d is %s, want %s", i+1, got, want)
		}
	}
}

func TestEntryJSON(t *testing.T) {
	e := chain("a", "b")[1]
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var got audit.Entry
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Sum() != e.Hash || got.Hash != e.Hash || got.Prev != e.Prev {
		t.Errorf("%s came back as %+v", b, got)
	}
	for _, bad := range []string{"", "00", strings.Repeat("zz", 32), strings.Repeat("00", 33)} {
		var h audit.Hash
		if err := h.UnmarshalText([]byte(bad)); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%q: error is %v, want kind invalid", bad, err)
		}
	}
}
