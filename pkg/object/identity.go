package object

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

const (
	// IdentityKey is the marker object by which a bucket (or the prefix of one) is recognised.
	IdentityKey = ".bucketmesh/replica"
	metaReplica = "bucketmesh-replica"
)

// Identity reads the identity of a bucket, "" if it has none.
func Identity(ctx context.Context, d driver.Bucket) (string, error) {
	a, err := d.Stat(ctx, IdentityKey, "")
	if errkind.Is(err, errkind.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", errkind.New(errkind.Of(err), "read identity of bucket: %w", err)
	}
	return a.Metadata[metaReplica], nil
}

// GiveIdentity gives a bucket an identity if it has none, and returns the one that it has. Two processes that do this at
// once agree where the bucket keeps If-None-Match.
func GiveIdentity(ctx context.Context, d driver.Bucket) (string, error) {
	id, err := Identity(ctx, d)
	if err != nil || id != "" {
		return id, err
	}
	opts := &driver.PutOptions{If: driver.Precondition{NotExist: d.Capabilities().PutNotExist != driver.GuardNone}}
	opts.ContentType = "text/plain"
	opts.Metadata = map[string]string{metaReplica: rand.Text()}
	text := []byte("bucketmesh recognises this bucket by this object. Without it, it takes the bucket for another one and stops.\n")
	opts.Size = int64(len(text))
	if _, err := d.Put(ctx, IdentityKey, bytes.NewReader(text), opts); err != nil && !errkind.Is(err, errkind.PreconditionFailed) {
		return "", errkind.New(errkind.Of(err), "give bucket an identity: %w", err)
	}
	if id, err = Identity(ctx, d); err == nil && id == "" {
		return "", errkind.New(errkind.Invalid, "give bucket an identity: its marker %s holds none, a tool that copied it may have dropped its "+
			"metadata; remove that object", IdentityKey)
	}
	return id, err
}

// identified checks absences against the bucket's identity.
type identified struct {
	d  driver.Bucket
	id string

	confirmed atomic.Bool // the marker was read once

	mu      sync.Mutex
	started time.Time // of the last check
	err     error     // what it found
}

// Identified is d with every absence checked: if an object is not there, or a listing was read, the bucket must still
// carry the identity id, or the answer is Unavailable. So an empty bucket in the place of the one that was (recreated,
// restored, mounted wrongly, another one under the same name) never passes for one whose users deleted everything. It
// costs one HEAD for an absence and one for a page of a listing; checks that wait for each other are done once.
//
// read says that the caller has just read the identity, and that it is id. If not, because the bucket did not answer, no other
// request is sent before one has read it: what is in another bucket must not pass for what users wrote.
func Identified(d driver.Bucket, id string, read bool) driver.Bucket {
	i := &identified{d: d, id: id}
	i.confirmed.Store(read)
	return intercept(d, i)
}

func (i *identified) around(ctx context.Context, k call, next func(context.Context) error) error {
	if !i.confirmed.Load() {
		if err := i.check(ctx, time.Now()); err != nil {
			return err
		}
		i.confirmed.Store(true)
	}
	err := next(ctx)
	switch {
	case k.op == OpList && err == nil, (k.op == OpStat || k.op == OpOpen) && errkind.Is(err, errkind.NotFound):
	default:
		return err
	}
	if other := i.check(ctx, time.Now()); other != nil {
		return other
	}
	return err
}

// check looks at the marker, unless another caller did so after asked.
func (i *identified) check(ctx context.Context, asked time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.started.After(asked) {
		return i.err
	}
	started := time.Now()
	id, err := Identity(ctx, i.d)
	if err == nil && id != i.id {
		err = errkind.New(errkind.Unavailable, "the bucket is not the one that it was: its marker %s is missing or another one; nothing that is "+
			"absent in it is taken for deleted (if the bucket was replaced, give the replica a new name: it is filled then)", IdentityKey)
	}
	if ctx.Err() != nil { // says nothing to the others
		return err
	}
	i.started, i.err = started, err
	return err
}
