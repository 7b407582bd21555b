package e2e

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// maxAttempts of an operation whose condition did not hold: it looks again each time.
const maxAttempts = 6

// writer carries out operations at one replica and records what it did.
type writer struct {
	seed    uint64
	replica *replica
	ledger  *ledger
	locks   *keyLocks // nil where history or conditions tell the order of writes
}

// run carries out one operation. An error is a fault of the harness or of a server, not a refused condition.
func (w *writer) run(ctx context.Context, op Operation) error {
	if w.locks != nil {
		defer w.locks.lock(op.Key)()
	}
	for range maxAttempts {
		done, err := w.attempt(ctx, op)
		if done || err != nil {
			return err
		}
	}
	return nil // it lost every race; the ledger says so
}

// attempt looks, writes and records. It is not done if the condition did not hold.
func (w *writer) attempt(ctx context.Context, op Operation) (done bool, err error) {
	seen, err := w.replica.look(ctx, op.Key)
	if err != nil {
		return false, err
	}
	rec := write{
		op: op.Number, kind: op.Kind, replica: w.replica.name, key: op.Key, body: op.Number, meta: op.Number,
		seen: seen, conditional: op.Conditional,
	}
	var source sight
	if op.Kind == OpCopy {
		if source, err = w.replica.look(ctx, op.From); err != nil {
			return false, err
		}
	}
	if !seen.present && (op.Kind == OpDelete || op.Kind == OpEdit) || op.Kind == OpCopy && (!source.present || op.From == op.Key) {
		rec.kind = OpPut
	}
	rec.started = time.Now()
	out, err := w.carryOut(ctx, op, source, &rec)
	rec.ended, rec.etag, rec.versionID = time.Now(), out.etag, out.versionID
	status := statusOf(err)
	switch {
	case err == nil:
		rec.outcome = acked
	case errors.Is(err, errNothingSent) || status >= 400 && status < 500:
		rec.outcome, rec.detail = refused, err.Error()
	default:
		rec.outcome, rec.detail = unknown, err.Error()
	}
	w.ledger.add(rec)
	switch {
	case rec.outcome != refused, ctx.Err() != nil:
		return true, ctx.Err()
	case status == http.StatusPreconditionFailed || status == http.StatusConflict || status == http.StatusNotFound:
		return false, nil
	case rec.kind == OpMultipart && lostBlocks(err):
		return false, nil
	}
	return true, err // e.g. a key or a header that the server does not take: the workload is wrong
}

// carryOut sends the write and completes the record of what was asked for.
func (w *writer) carryOut(ctx context.Context, op Operation, source sight, rec *write) (written, error) {
	p := properties{op.ContentType, map[string]string{metaOp: strconv.Itoa(op.Number), metaBody: strconv.Itoa(op.Number), metaNote: op.Note}}
	switch rec.kind {
	case OpDelete: // blind where the bucket has versions: MinIO ignores a condition
		rec.conditional = !w.replica.versioned
		return w.replica.remove(ctx, op.Key, condition{rec.conditional, rec.seen})
	case OpEdit:
		rec.body, rec.conditional = rec.seen.body, true
		p.meta[metaBody] = strconv.Itoa(rec.body)
		return w.replica.edit(ctx, op.Key, rec.seen, p)
	case OpCopy:
		rec.body, rec.conditional = source.body, w.replica.exact
		c := condition{rec.conditional, rec.seen}
		if op.KeepMeta {
			rec.meta = source.op
			return w.replica.copy(ctx, op.Key, op.From, source, nil, c)
		}
		p.meta[metaBody] = strconv.Itoa(rec.body)
		return w.replica.copy(ctx, op.Key, op.From, source, &p, c)
	case OpMultipart:
		return w.replica.putLarge(ctx, op.Key, bodyOf(w.seed, op.Number, op.Size), p, condition{rec.conditional, rec.seen})
	case OpPut:
	}
	return w.replica.put(ctx, op.Key, bodyOf(w.seed, op.Number, min(op.Size, 4<<20)), p, condition{rec.conditional, rec.seen})
}

// lostBlocks: at Azure, blocks wait at the key. Another write of it threw them away, or those of another upload (it may have been
// given up) have ids of another length, which Azure does not let in beside. Nothing was written.
func lostBlocks(err error) bool {
	return bloberror.HasCode(err, bloberror.InvalidBlockList, bloberror.InvalidBlobOrBlock)
}

// keyLocks lets one writer at a time at a key.
type keyLocks struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (k *keyLocks) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*sync.Mutex{}
	}
	l := k.locks[key]
	if l == nil {
		l = &sync.Mutex{}
		k.locks[key] = l
	}
	k.mu.Unlock()
	l.Lock()
	return l.Unlock
}
