// Package mem is a bucket in memory with the full semantics of a provider: versions and delete markers, conditions on put,
// complete, delete and read, multipart uploads, ETags of content (as S3) or unique tags (as GCS and Azure). It also
// models the lies of S3-compatible servers, so that what stands in for a missing condition can be tested step by step.
//
// Errors carry the kinds that package driver documents. All methods may be called from many goroutines; the package
// starts none of its own, reads time only from the clock that it is given, and numbers versions one by one, so that one
// order of calls always gives the same answers.
package mem

import (
	"context"
	"crypto/md5" // an ETag is an MD5 by S3's definition, not a protection
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/guard"
)

// Config of a bucket. The zero value is an unversioned S3-like bucket that keeps all its promises.
type Config struct {
	Versioned  bool
	UniqueTags bool // Tag names the write (GCS generation, Azure ETag) and not the content
	// Generations: every write has a version id, on an unversioned bucket, too, and a delete leaves no marker (GCS).
	Generations bool
	Now         func() time.Time // nil: time.Now
	PageSize    int              // of listings; 0: 1000
	MaxPut      int64            // bytes; 0: 5 GiB
	MinPart     int64            // bytes; 0: 1
	MaxKey      int              // bytes; 0: 1024
	Lies        Lies
	// Capabilities is what the bucket says of itself; nil: the truth about Config.
	Capabilities *driver.Capabilities
}

// Lies are conditions that the "provider" takes and does not honour.
type Lies struct {
	IgnorePutMatch    bool
	IgnorePutNotExist bool
	IgnoreComplete    bool // both conditions
	IgnoreDelete      bool // as MinIO does
	// MarkerExists makes If-None-Match:* fail over a delete marker, as versitygw does on versioned buckets.
	MarkerExists bool
	// ReuseMarker makes a delete of what is deleted already answer the marker that is there, as MinIO does.
	ReuseMarker bool
}

// Bucket is a bucket in memory. Make one with New.
type Bucket struct {
	*store
	caps driver.Capabilities
}

var (
	_ driver.Bucket      = (*Bucket)(nil)
	_ driver.Multiparter = (*Bucket)(nil)
	_ driver.Versioner   = (*Bucket)(nil)
)

// store is shared by all views (WithCapabilities) of one bucket.
type store struct {
	cfg Config
	now func() time.Time

	mu        sync.Mutex
	objects   map[string][]*version // oldest first
	uploads   map[string]*upload
	serial    int64
	versioned bool
}

// version is immutable: a metadata edit is a new version.
type version struct {
	attrs driver.Attrs
	data  []byte
}

// New makes an empty bucket.
func New(cfg Config) *Bucket {
	s := &store{
		cfg: cfg, now: cfg.Now, versioned: cfg.Versioned,
		objects: map[string][]*version{}, uploads: map[string]*upload{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if cfg.Capabilities != nil {
		return &Bucket{store: s, caps: *cfg.Capabilities}
	}
	return &Bucket{store: s, caps: truth(cfg)}
}

// truth is what a probe finds out about cfg.
func truth(cfg Config) driver.Capabilities {
	c := driver.Capabilities{
		Level: driver.C2, Versioned: cfg.Versioned,
		PutMatch: driver.GuardNative, PutNotExist: driver.GuardNative, CompleteGuard: driver.GuardNative,
		DeleteGuard: driver.GuardNative, ReadMatch: driver.GuardNative,
		MaxPut: cfg.MaxPut, MinPart: cfg.MinPart, MaxParts: 10_000, MaxKey: cfg.MaxKey,
	}
	if c.MaxPut == 0 {
		c.MaxPut = 5 << 30
	}
	if c.MinPart == 0 {
		c.MinPart = 1
	}
	if c.MaxKey == 0 {
		c.MaxKey = 1024
	}
	if cfg.UniqueTags {
		c.Level = driver.C3
	}
	instead := driver.GuardNone // of an ignored condition
	if cfg.Versioned && !cfg.Generations {
		instead = driver.GuardMarker
	}
	for _, lie := range []struct {
		told  bool
		guard *driver.Guard
		level driver.Level // with the stand-in
	}{
		{cfg.Lies.IgnoreDelete, &c.DeleteGuard, driver.C2},
		{cfg.Lies.IgnorePutMatch, &c.PutMatch, driver.C1},
		{cfg.Lies.IgnorePutNotExist, &c.PutNotExist, driver.C1},
		{cfg.Lies.IgnoreComplete, &c.CompleteGuard, driver.C1},
	} {
		if lie.told {
			*lie.guard = instead
			c.Level = min(c.Level, lie.level)
			if instead == driver.GuardNone {
				c.Level = driver.C0
			}
		}
	}
	return c
}

// WithCapabilities is the same bucket, contents included, that says other things of itself.
func (b *Bucket) WithCapabilities(c driver.Capabilities) driver.Bucket {
	return &Bucket{store: b.store, caps: c}
}

// Capabilities implements driver.Bucket.
func (b *Bucket) Capabilities() driver.Capabilities { return b.caps }

// Close implements driver.Bucket. The contents stay.
func (b *Bucket) Close() error { return nil }

// SetVersioned switches versioning on, or off (S3 calls that suspended: older versions stay, new writes have none).
func (b *Bucket) SetVersioned(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.versioned = on
}

// Stat implements driver.Bucket.
func (b *Bucket) Stat(ctx context.Context, key, versionID string) (*driver.Attrs, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	v, err := b.find(key, versionID)
	if err != nil {
		return nil, err
	}
	return b.answer(v), nil
}

// Delete implements driver.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.DeleteOptions{}
	}
	how, err := driver.GuardOf(opts.If, b.caps.DeleteGuard, driver.GuardNone)
	if err != nil {
		return nil, err
	}
	if how == driver.GuardMarker {
		return b.checked(ctx, key, opts.If, func(ctx context.Context) (*driver.Attrs, error) {
			return b.remove(ctx, key, &driver.DeleteOptions{})
		})
	}
	return b.remove(ctx, key, opts)
}

// checked is a write whose condition is checked after the fact.
func (b *Bucket) checked(ctx context.Context, key string, want driver.Precondition, write func(context.Context) (*driver.Attrs, error)) (*driver.Attrs, error) {
	return guard.Write(ctx, want, guard.Raw{
		Stat:  func(ctx context.Context) (*driver.Attrs, error) { return b.Stat(ctx, key, "") },
		Write: write,
		Remove: func(ctx context.Context, id string) (*driver.Attrs, error) {
			return b.remove(ctx, key, &driver.DeleteOptions{VersionID: id})
		},
		Versions: func(ctx context.Context) ([]driver.Attrs, error) { return b.Versions(ctx, key) },
	})
}

// remove is the provider's DELETE.
func (b *Bucket) remove(ctx context.Context, key string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if opts.VersionID != "" {
		return b.removeVersion(key, opts.VersionID), nil
	}
	if !b.cfg.Lies.IgnoreDelete {
		if err := b.check(key, opts.If, false, false); err != nil {
			return nil, err
		}
	}
	all := b.objects[key]
	if !b.versioned && (b.cfg.Generations || !hasVersions(all)) {
		delete(b.objects, key)
		return &driver.Attrs{Key: key, RequestID: b.request()}, nil
	}
	if cur := b.current(key); b.cfg.Lies.ReuseMarker && b.versioned && cur != nil && cur.attrs.DeleteMarker {
		return b.answer(cur), nil
	}
	marker := &version{attrs: driver.Attrs{Key: key, DeleteMarker: true, ModTime: b.now()}}
	b.push(key, marker)
	if b.cfg.Generations { // the marker is ours alone: it says that no version is current
		return &driver.Attrs{Key: key, RequestID: b.request()}, nil
	}
	return b.answer(marker), nil
}

func (b *Bucket) removeVersion(key, id string) *driver.Attrs {
	answer := &driver.Attrs{Key: key, VersionID: id, RequestID: b.request()}
	all := b.objects[key]
	for i, v := range all {
		if v.attrs.VersionID == id {
			answer.DeleteMarker = v.attrs.DeleteMarker
			kept := append(all[:i:i], all[i+1:]...)
			if len(kept) == 0 {
				delete(b.objects, key)
			} else {
				b.objects[key] = kept
			}
			break
		}
	}
	return answer
}

// check enforces a condition. ignoreMatch and ignoreNotExist are the lies.
func (b *Bucket) check(key string, p driver.Precondition, ignoreMatch, ignoreNotExist bool) error {
	cur := b.current(key)
	exists := cur != nil && !cur.attrs.DeleteMarker
	switch {
	case p.NotExist && !ignoreNotExist && (exists || cur != nil && b.cfg.Lies.MarkerExists):
		return errkind.New(errkind.PreconditionFailed, "an object is there")
	case p.Match != "" && !ignoreMatch && !exists:
		return errkind.New(errkind.PreconditionFailed, "no object is there")
	case p.Match != "" && !ignoreMatch && cur.attrs.Tag != p.Match:
		return errkind.New(errkind.PreconditionFailed, "the object's tag is %s, not %s", cur.attrs.Tag, p.Match)
	}
	return nil
}

// current is the newest version or marker; nil if there is none.
func (s *store) current(key string) *version {
	if all := s.objects[key]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// find is a readable version.
func (s *store) find(key, versionID string) (*version, error) {
	v := s.current(key)
	if versionID != "" {
		v = nil
		for _, w := range s.objects[key] {
			if w.attrs.VersionID == versionID {
				v = w
			}
		}
	}
	if v == nil || v.attrs.DeleteMarker {
		return nil, errkind.New(errkind.NotFound, "no such object")
	}
	return v, nil
}

// push makes v the newest version, with its identity.
func (s *store) push(key string, v *version) {
	s.serial++
	hidden := s.cfg.Generations && v.attrs.DeleteMarker
	if (s.versioned || s.cfg.Generations) && !hidden {
		v.attrs.VersionID = fmt.Sprintf("v%012d", s.serial)
	}
	if !v.attrs.DeleteMarker && s.cfg.UniqueTags {
		v.attrs.ETag = fmt.Sprintf("0x%012X", s.serial)
		v.attrs.Metageneration = "1"
	}
	v.attrs.Tag = v.attrs.ETag
	var kept []*version
	for _, w := range s.objects[key] {
		replaced := !s.versioned && w.attrs.VersionID == "" // an unversioned write takes the place of the unversioned one
		if s.cfg.Generations {
			replaced = !s.versioned || w.attrs.DeleteMarker
		}
		if !replaced {
			kept = append(kept, w)
		}
	}
	s.objects[key] = append(kept, v)
}

func hasVersions(all []*version) bool {
	for _, v := range all {
		if v.attrs.VersionID != "" {
			return true
		}
	}
	return false
}

func (s *store) request() string {
	s.serial++
	return fmt.Sprintf("mem-%d", s.serial)
}

// answer is a copy of a version's attributes that the caller may change.
func (s *store) answer(v *version) *driver.Attrs {
	a := v.attrs
	a.Metadata, a.Tags, a.Extra = maps.Clone(a.Metadata), maps.Clone(a.Tags), maps.Clone(a.Extra)
	a.RequestID = s.request()
	return &a
}

// readAll takes a body in, and holds it to what the options say of it.
func readAll(body io.Reader, size int64, md5sum, shasum string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, size+1))
	if err != nil {
		return nil, errkind.New(errkind.Unavailable, "read body: %w", err)
	}
	switch {
	case int64(len(data)) != size:
		return nil, errkind.New(errkind.Invalid, "the body doesn't have the %d bytes that were announced", size)
	case md5sum != "" && md5sum != md5hex(data):
		return nil, errkind.New(errkind.Invalid, "the body doesn't have the announced MD5")
	case shasum != "" && shasum != sha256hex(data):
		return nil, errkind.New(errkind.Invalid, "the body doesn't have the announced SHA-256")
	}
	return data, nil
}

func md5hex(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func sha256hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
