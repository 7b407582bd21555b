package guard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/guard"
	"github.com/bucketmesh/bucketmesh/pkg/object/mem"
)

const key = "k"

// raw is the provider's own behaviour on a bucket that keeps versions and no conditions.
func raw(b *mem.Bucket) guard.Raw {
	return guard.Raw{
		Stat:  func(ctx context.Context) (*driver.Attrs, error) { return b.Stat(ctx, key, "") },
		Write: func(ctx context.Context) (*driver.Attrs, error) { return b.Delete(ctx, key, nil) },
		Remove: func(ctx context.Context, id string) (*driver.Attrs, error) {
			return b.Delete(ctx, key, &driver.DeleteOptions{VersionID: id})
		},
		Versions: func(ctx context.Context) ([]driver.Attrs, error) { return b.Versions(ctx, key) },
	}
}

func put(t *testing.T, b *mem.Bucket, content string) *driver.Attrs {
	t.Helper()
	a, err := b.Put(t.Context(), key, strings.NewReader(content), &driver.PutOptions{Size: int64(len(content))})
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return a
}

func expect(a *driver.Attrs) driver.Precondition {
	return driver.Precondition{Match: a.Tag, VersionID: a.VersionID}
}

// current asserts which version is current; "" is none.
func current(t *testing.T, b *mem.Bucket, want string) {
	t.Helper()
	a, err := b.Stat(t.Context(), key, "")
	if want == "" && errkind.Is(err, errkind.NotFound) {
		return
	}
	if err != nil || a.VersionID != want {
		t.Errorf("current is %+v, %v; want version %q", a, err, want)
	}
}

// TestUnseenWriteIsNotDeleted: a user writes between the look and the delete.
func TestUnseenWriteIsNotDeleted(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true})
	seen := put(t, b, "seen")
	r := raw(b)
	var unseen *driver.Attrs
	write := r.Write
	r.Write = func(ctx context.Context) (*driver.Attrs, error) {
		unseen = put(t, b, "unseen")
		return write(ctx)
	}
	_, err := guard.Write(t.Context(), expect(seen), r)
	if !errkind.Is(err, errkind.PreconditionFailed) {
		t.Errorf("got %v, want precondition failed", err)
	}
	current(t, b, unseen.VersionID)
}

// TestLooksFirst: a condition that fails already costs no delete, and shows users nothing.
func TestLooksFirst(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true})
	seen := put(t, b, "seen")
	cur := put(t, b, "current")
	r := raw(b)
	r.Write = func(context.Context) (*driver.Attrs, error) { t.Error("it wrote"); return nil, errors.New("no") }
	if _, err := guard.Write(t.Context(), expect(seen), r); !errkind.Is(err, errkind.PreconditionFailed) {
		t.Errorf("got %v, want precondition failed", err)
	}
	current(t, b, cur.VersionID)
}

// TestSomebodyElsesMarkerStays: the key is deleted, by a user, and the server answers a delete with that marker (MinIO).
// Taking it back would undo the user's delete.
func TestSomebodyElsesMarkerStays(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true, Lies: mem.Lies{ReuseMarker: true}})
	seen := put(t, b, "seen")
	put(t, b, "later")
	if _, err := b.Delete(t.Context(), key, nil); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if _, err := guard.Write(t.Context(), expect(seen), raw(b)); !errkind.Is(err, errkind.PreconditionFailed) {
		t.Errorf("got %v, want precondition failed", err)
	}
	current(t, b, "")
}

// TestUncheckedWriteIsTakenBack: versions can't be listed, or the caller gave up right after the write.
func TestUncheckedWriteIsTakenBack(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true})
	seen := put(t, b, "seen")
	ctx, cancel := context.WithCancel(t.Context())
	r := raw(b)
	r.Versions = func(context.Context) ([]driver.Attrs, error) {
		cancel()
		return nil, errkind.New(errkind.Throttled, "slow down")
	}
	if _, err := guard.Write(ctx, expect(seen), r); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	current(t, b, seen.VersionID)
}

// TestSharedMarkerIsGone: two deletes at once were answered with one marker (MinIO), and the other one took it back.
func TestSharedMarkerIsGone(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true, Lies: mem.Lies{ReuseMarker: true}})
	seen := put(t, b, "seen")
	r := raw(b)
	write := r.Write
	r.Write = func(ctx context.Context) (*driver.Attrs, error) {
		put(t, b, "unseen")
		ours, err := write(ctx)
		if err != nil {
			return nil, err
		}
		_, err = r.Remove(ctx, ours.VersionID) // the other delete's check
		return ours, err
	}
	if _, err := guard.Write(t.Context(), expect(seen), r); !errkind.Is(err, errkind.Conflict) {
		t.Errorf("got %v (kind %s), want conflict", err, errkind.Of(err))
	}
}

// TestMarkerThatStays: it can't be taken back. The caller must not conclude anything, and a human reads which one it is.
func TestMarkerThatStays(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true})
	seen := put(t, b, "seen")
	r := raw(b)
	write := r.Write
	var marker *driver.Attrs
	r.Write = func(ctx context.Context) (a *driver.Attrs, err error) {
		put(t, b, "unseen")
		marker, err = write(ctx)
		return marker, err
	}
	r.Remove = func(context.Context, string) (*driver.Attrs, error) {
		return nil, errkind.New(errkind.PermissionDenied, "denied")
	}
	_, err := guard.Write(t.Context(), expect(seen), r)
	if !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), marker.VersionID) {
		t.Errorf("got %v, want unavailable with version %s", err, marker.VersionID)
	}
}

// TestWriteAboveOurs: a user writes after our marker, before the check. The delete was right, and the write stays.
func TestWriteAboveOurs(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true})
	seen := put(t, b, "seen")
	r := raw(b)
	versions := r.Versions
	var above *driver.Attrs
	r.Versions = func(ctx context.Context) ([]driver.Attrs, error) {
		above = put(t, b, "above")
		return versions(ctx)
	}
	if _, err := guard.Write(t.Context(), expect(seen), r); err != nil {
		t.Errorf("got %v", err)
	}
	current(t, b, above.VersionID)
}

// TestMatches: what is below, against what was meant.
func TestMatches(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*mem.Bucket) driver.Precondition
		ok      bool
	}{
		"expected version": {func(b *mem.Bucket) driver.Precondition { return expect(put(t, b, "x")) }, true},
		"expected tag only": {func(b *mem.Bucket) driver.Precondition {
			return driver.Precondition{Match: put(t, b, "x").Tag}
		}, true},
		"same bytes, other version": {func(b *mem.Bucket) driver.Precondition {
			p := expect(put(t, b, "x"))
			put(t, b, "x")
			return p
		}, false},
		"nothing there": {func(*mem.Bucket) driver.Precondition { return driver.Precondition{Match: "tag"} }, false},
		"create":        {func(*mem.Bucket) driver.Precondition { return driver.Precondition{NotExist: true} }, true},
		"create over a marker": {func(b *mem.Bucket) driver.Precondition {
			put(t, b, "x")
			_, _ = b.Delete(t.Context(), key, nil)
			return driver.Precondition{NotExist: true}
		}, true},
		"create over an object": {func(b *mem.Bucket) driver.Precondition {
			put(t, b, "x")
			return driver.Precondition{NotExist: true}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := mem.New(mem.Config{Versioned: true})
			want := c.prepare(b)
			before, _ := b.Versions(t.Context(), key)
			_, err := guard.Write(t.Context(), want, raw(b))
			if (err == nil) != c.ok || err != nil && !errkind.Is(err, errkind.PreconditionFailed) {
				t.Errorf("got %v, want success: %v", err, c.ok)
			}
			if after, _ := b.Versions(t.Context(), key); !c.ok && len(after) != len(before) {
				t.Errorf("%d versions before, %d after a refused write", len(before), len(after))
			}
		})
	}
}

// TestNothingIsTakenBackAfterTheDeadline: others may have adopted the write by then, and would take its disappearance for a user's delete.
func TestNothingIsTakenBackAfterTheDeadline(t *testing.T) {
	b := mem.New(mem.Config{Versioned: true})
	seen := put(t, b, "seen")
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour))
	defer cancel()
	r := raw(b)
	var until time.Time
	r.Versions = func(context.Context) ([]driver.Attrs, error) {
		cancel() // the caller stopped waiting, too
		return nil, errkind.New(errkind.Unavailable, "no answer")
	}
	remove := r.Remove
	r.Remove = func(ctx context.Context, id string) (*driver.Attrs, error) {
		until, _ = ctx.Deadline()
		if ctx.Err() != nil {
			t.Errorf("it is given up with the caller: %v", ctx.Err())
		}
		return remove(ctx, id)
	}
	if _, err := guard.Write(ctx, expect(seen), r); !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	if want, _ := ctx.Deadline(); !until.Equal(want) {
		t.Errorf("it may be taken back until %v, want %v", until, want)
	}
}
