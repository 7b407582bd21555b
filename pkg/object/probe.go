package object

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// ProbePrefix is where Probe writes. It belongs to bucketmesh and is never synchronized.
const ProbePrefix = ".bucketmesh/probe/"

// ProbeOptions bound a probe. Zero fields have the defaults that are named.
type ProbeOptions struct {
	Writers int           // that write at once, at least 2: 8
	Rounds  int           // races per condition, because a race can end well by luck: 2
	Timeout time.Duration // of the whole probe: 5 min (a bucket may take one write a second to a name)
	// CleanupTimeout bounds removing what the probe wrote, which also happens when the probe fails: 1 min.
	CleanupTimeout time.Duration
}

// Report is what a bucket really promises.
type Report struct {
	Capabilities driver.Capabilities
	// Findings are sentences for the operator: what the bucket does otherwise than its protocol says, and what follows.
	Findings []string
	// MarkerBlocksCreate: If-None-Match:* fails on a key whose current version is a delete marker, so a deleted key can
	// never be created again under a condition.
	MarkerBlocksCreate bool
}

// Probe finds out by trying what a bucket promises: it lets concurrent writers race for each kind of conditional write
// and counts the winners, because servers that speak a provider's protocol may take a condition and ignore it. It writes
// small objects under ProbePrefix and removes them again, versions included. It costs some 100 requests and runs at
// start-up, not per operation.
//
// The error is that of a request that failed for another reason than its condition (PermissionDenied, Unavailable):
// then nothing is known and the Report is empty.
func Probe(ctx context.Context, d driver.Bucket, o ProbeOptions) (Report, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	caps := d.Capabilities()
	caps.PutMatch, caps.PutNotExist = driver.GuardNative, driver.GuardNative
	caps.CompleteGuard, caps.DeleteGuard, caps.ReadMatch = driver.GuardNative, driver.GuardNative, driver.GuardNative
	d = unwrap(d)
	if c, ok := d.(Capable); ok { // a driver that follows capabilities must not refuse what is to be tried
		d = c.WithCapabilities(caps)
	}
	p := &prober{
		d: d, o: o, dir: ProbePrefix + rand.Text() + "/",
		wrote: map[string]bool{}, versions: map[string][]string{}, report: Report{Capabilities: caps},
	}
	err := p.run(ctx)
	cleanup, stop := context.WithTimeout(context.WithoutCancel(ctx), o.CleanupTimeout)
	defer stop()
	if cerr := p.cleanup(cleanup); cerr != nil {
		p.find("The probe could not remove all that it wrote under %s: %v", p.dir, cerr)
	}
	if err != nil {
		return Report{}, fmt.Errorf("probe bucket: %w", err)
	}
	p.report.Capabilities.Level = level(p.report.Capabilities, p.unique)
	return p.report, nil
}

func (o ProbeOptions) withDefaults() ProbeOptions {
	if o.Writers == 0 {
		o.Writers = 8
	}
	o.Writers = max(2, o.Writers)
	if o.Rounds <= 0 {
		o.Rounds = 2
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.CleanupTimeout <= 0 {
		o.CleanupTimeout = time.Minute
	}
	return o
}

// level is the weakest promise among the bucket's writes: put, complete and delete. A delete is an overwrite too.
func level(c driver.Capabilities, uniqueTags bool) driver.Level {
	puts := min(c.PutMatch, c.PutNotExist, c.CompleteGuard)
	switch {
	case min(puts, c.DeleteGuard) == driver.GuardNone:
		return driver.C0
	case puts == driver.GuardMarker:
		return driver.C1
	case uniqueTags && c.DeleteGuard == driver.GuardNative:
		return driver.C3
	}
	return driver.C2
}

type prober struct {
	d      driver.Bucket
	o      ProbeOptions
	dir    string
	report Report
	unique bool // tags name writes, not contents
	// markers: a delete leaves a marker over what it deletes, by which it can be checked and taken back.
	markers bool

	mu       sync.Mutex
	wrote    map[string]bool     // keys
	versions map[string][]string // that answers told us of, for drivers that can't list versions
}

func (p *prober) find(format string, args ...any) {
	p.report.Findings = append(p.report.Findings, fmt.Sprintf(format, args...))
}

func (p *prober) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		p.basics, p.notExist, p.match, p.complete, p.deletes, p.overMarker, p.readMatch, p.keys,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// basics: can we write at all, is what a write replaces kept, does a tag name the write or the content?
func (p *prober) basics(ctx context.Context) error {
	caps := &p.report.Capabilities
	first, err := p.put(ctx, "basics", "same", driver.Precondition{})
	if err != nil {
		return err
	}
	again, err := p.put(ctx, "basics", "same", driver.Precondition{})
	if err != nil {
		return err
	}
	p.unique = first.Tag != again.Tag
	suspended, err := p.versioning(ctx, first.VersionID, again.VersionID)
	if err != nil {
		return err
	}
	switch {
	case suspended:
		p.find("Versioning is suspended: older versions are kept, new writes replace each other. The bucket counts as unversioned.")
	case !caps.Versioned && !p.unique:
		p.find("Tags are made of the content and the bucket keeps no versions: a user who restores identical bytes within an " +
			"unacknowledged write can't be told apart from the old state. Switch versioning on for the full guarantee.")
	}
	return nil
}

// versioning finds out with one listing, after both versions were deleted, what the bucket keeps. That two writes have
// different version ids proves nothing: on GCS they name the write, on unversioned buckets, too. And a delete leaves a marker
// on S3 (also where versioning is suspended; not every server says so in its answer), and none on GCS and Azure.
func (p *prober) versioning(ctx context.Context, first, again string) (suspended bool, err error) {
	caps := &p.report.Capabilities
	gone, err := p.delete(ctx, "basics", driver.Precondition{})
	if err != nil {
		return false, err
	}
	distinct := first != "" && again != "" && first != again
	v, lists := p.d.(driver.Versioner)
	if !lists {
		caps.Versioned, p.markers = distinct, gone.DeleteMarker
		return gone.DeleteMarker && !distinct, nil
	}
	if gone.DeleteMarker && !distinct {
		return true, nil
	}
	all, err := v.Versions(ctx, p.key("basics"))
	if err != nil {
		return false, err
	}
	kept := false
	for i := range all {
		p.markers = p.markers || all[i].DeleteMarker
		kept = kept || all[i].VersionID == first
	}
	caps.Versioned = distinct && kept
	return !caps.Versioned && len(all) > 0, nil
}

// instead is what can stand in for a condition that the bucket doesn't keep.
func (p *prober) instead() driver.Guard {
	_, lists := p.d.(driver.Versioner)
	_, follows := p.d.(Capable)
	if p.report.Capabilities.Versioned && p.markers && lists && follows {
		return driver.GuardMarker
	}
	return driver.GuardNone
}

func (p *prober) notExist(ctx context.Context) (err error) {
	p.report.Capabilities.PutNotExist, err = p.guard(ctx, "put-if-none-match",
		func(context.Context, string) (string, error) { return "", nil },
		func(ctx context.Context, key, _ string, n int) error {
			_, err := p.put(ctx, key, fmt.Sprint("writer ", n), driver.Precondition{NotExist: true})
			return err
		})
	return err
}

func (p *prober) match(ctx context.Context) (err error) {
	p.report.Capabilities.PutMatch, err = p.guard(ctx, "put-if-match", p.base,
		func(ctx context.Context, key, tag string, n int) error {
			_, err := p.put(ctx, key, fmt.Sprint("writer ", n), driver.Precondition{Match: tag})
			return err
		})
	return err
}

// base puts an object for writers to race for.
func (p *prober) base(ctx context.Context, key string) (string, error) {
	a, err := p.put(ctx, key, "base", driver.Precondition{})
	if err != nil {
		return "", err
	}
	return a.Tag, nil
}

func (p *prober) complete(ctx context.Context) error {
	caps := &p.report.Capabilities
	m, ok := p.d.(driver.Multiparter)
	if !ok {
		// Without multipart uploads there is no Complete that could break a condition.
		caps.CompleteGuard, caps.MaxParts = driver.GuardNative, 0
		return nil
	}
	condition := func(match bool) func(context.Context, string, string, int) error {
		return func(ctx context.Context, key, tag string, n int) error {
			cond := driver.Precondition{NotExist: true}
			if match {
				cond = driver.Precondition{Match: tag}
			}
			return p.upload(ctx, m, key, fmt.Sprint("upload of writer ", n), cond)
		}
	}
	absent, err := p.guard(ctx, "complete-if-none-match", func(context.Context, string) (string, error) { return "", nil }, condition(false))
	if err != nil {
		return err
	}
	match, err := p.guard(ctx, "complete-if-match", p.base, condition(true))
	if err != nil {
		return err
	}
	caps.CompleteGuard = min(absent, match)
	return nil
}

// upload is a multipart upload of one part (which may be as small as it likes), aborted if it isn't completed.
func (p *prober) upload(ctx context.Context, m driver.Multiparter, name, content string, cond driver.Precondition) error {
	key := p.key(name)
	opts := &driver.PutOptions{Size: int64(len(content)), If: cond}
	id, err := m.Begin(ctx, key, opts)
	if err != nil {
		return err
	}
	part, err := m.PutPart(ctx, key, id, 1, bytes.NewReader([]byte(content)), opts.Size)
	if err == nil {
		_, err = p.patiently(ctx, key, func() (*driver.Attrs, error) { return m.Complete(ctx, key, id, []driver.Part{part}, opts) })
		if err == nil {
			return nil
		}
	}
	cleanup, stop := context.WithTimeout(context.WithoutCancel(ctx), p.o.CleanupTimeout)
	defer stop()
	return errors.Join(err, m.Abort(cleanup, key, id))
}

// deletes: a stale tag must not delete, and a delete must never hit a write that won the same race.
func (p *prober) deletes(ctx context.Context) error {
	caps := &p.report.Capabilities
	stale, err := p.base(ctx, "delete")
	if err != nil {
		return err
	}
	if _, err := p.put(ctx, "delete", "newer", driver.Precondition{}); err != nil {
		return err
	}
	_, err = p.delete(ctx, "delete", driver.Precondition{Match: stale})
	switch errkind.Of(err) {
	case errkind.PreconditionFailed, errkind.Conflict:
		kept, err := p.deletesAgainstPuts(ctx)
		if err != nil {
			return err
		}
		if kept {
			caps.DeleteGuard = driver.GuardNative
			return nil
		}
		p.find("If-Match on delete is not kept among writers at once: a delete removed a write that had won.")
	case errkind.Unsupported:
		p.find("If-Match on delete is refused by the bucket.")
	default:
		if err != nil {
			return err
		}
		p.find("If-Match on delete is ignored: a delete with a stale tag succeeded.")
	}
	if caps.DeleteGuard = p.instead(); caps.DeleteGuard == driver.GuardMarker {
		p.find("Deletes are guarded by looking below their delete marker: one more list request each, and readers may miss the " +
			"object for the moment of a delete that is taken back.")
		return nil
	}
	p.find("A delete can hit a write that nobody saw. Mend: switch versioning on, or use a bucket that keeps If-Match on delete.")
	return nil
}

// overMarker: can a deleted key be created again under If-None-Match:*? (versitygw takes a delete marker for an object.)
func (p *prober) overMarker(ctx context.Context) error {
	caps := &p.report.Capabilities
	if !caps.Versioned || caps.PutNotExist == driver.GuardNone {
		return nil
	}
	if _, err := p.base(ctx, "over-marker"); err != nil {
		return err
	}
	if _, err := p.delete(ctx, "over-marker", driver.Precondition{}); err != nil {
		return err
	}
	_, err := p.put(ctx, "over-marker", "again", driver.Precondition{NotExist: true})
	if errkind.Is(err, errkind.PreconditionFailed) {
		p.report.MarkerBlocksCreate = true
		p.find("If-None-Match:* over a delete marker answers 412: a deleted key can't be created again safely. Mend: switch " +
			"versioning off in this bucket, or use it as a ReadOnly replica.")
		return nil
	}
	return err
}

// readMatch: does a pinned read refuse other bytes?
func (p *prober) readMatch(ctx context.Context) error {
	stale, err := p.base(ctx, "read")
	if err != nil {
		return err
	}
	if _, err := p.put(ctx, "read", "newer", driver.Precondition{}); err != nil {
		return err
	}
	r, _, err := p.d.Open(ctx, p.key("read"), &driver.ReadOptions{IfMatch: stale})
	switch {
	case err == nil:
		_, _ = io.Copy(io.Discard, r)
		_ = r.Close()
		p.report.Capabilities.ReadMatch = driver.GuardNone
		p.find("If-Match on reads is ignored: an object may be replaced while it is copied. Mend: none; use it as a ReadOnly replica.")
		return nil
	case errkind.Is(err, errkind.PreconditionFailed):
		return nil
	}
	return err
}

// keys: does the server clean keys as paths, and can one key be below another one?
func (p *prober) keys(ctx context.Context) error {
	switch _, err := p.put(ctx, "unclean//key", "x", driver.Precondition{}); {
	case errkind.Is(err, errkind.Invalid):
		p.find("Keys with empty segments (a//b) are refused by the server.")
	case err != nil:
		return err
	default:
		there, err := p.listed(ctx, "unclean//key")
		if err != nil {
			return err
		}
		if p.report.Capabilities.KeysAsPaths = !there; !there {
			p.find("The server cleans keys as paths: a//b and a/./b become a/b. Keys with empty, \".\" or \"..\" segments are refused.")
		}
	}
	if _, err := p.base(ctx, "object"); err != nil {
		return err
	}
	switch _, err := p.put(ctx, "object/below", "x", driver.Precondition{}); {
	case errkind.Is(err, errkind.Invalid):
		p.find("A key below another key (a and a/b) is refused by the server: such pairs can't be synchronized to this bucket.")
		return nil
	case err != nil:
		return err
	}
	there, err := p.listed(ctx, "object/below")
	if err == nil && !there {
		p.find("Of a key below another key (a and a/b), listings show only the shorter one: scans and conditional deletes miss the other.")
	}
	return err
}

// listed looks through the probe's own listing: a listing with the whole key as its prefix takes a short cut on MinIO.
func (p *prober) listed(ctx context.Context, name string) (bool, error) {
	opts := driver.ListOptions{Prefix: p.dir}
	for {
		page, err := p.d.List(ctx, &opts)
		if err != nil {
			return false, err
		}
		for i := range page.Objects {
			if page.Objects[i].Key == p.dir+name {
				return true, nil
			}
		}
		if opts.After = page.Next; opts.After == "" {
			return false, nil
		}
	}
}
