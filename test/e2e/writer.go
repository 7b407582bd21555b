package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxAttempts of an operation whose condition did not hold: it looks again each time.
const maxAttempts = 6

// writer carries out operations at one replica and records what it did.
type writer struct {
	seed    uint64
	replica *replica
	ledger  *ledger
	locks   *keyLocks // nil where the bucket's own history tells the order of writes
}

// run carries out one operation. An error is a fault of the harness or of a server, not a refused condition.
func (w *writer) run(ctx context.Context, op operation) error {
	if w.locks != nil {
		defer w.locks.lock(op.key)()
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
func (w *writer) attempt(ctx context.Context, op operation) (done bool, err error) {
	seen, err := w.replica.look(ctx, op.key)
	if err != nil {
		return false, err
	}
	rec := write{
		op: op.number, kind: op.kind, replica: w.replica.name, key: op.key, body: op.number, meta: op.number,
		seen: seen, conditional: op.conditional,
	}
	var source sight
	if op.kind == opCopy {
		if source, err = w.replica.look(ctx, op.from); err != nil {
			return false, err
		}
	}
	if !seen.present && (op.kind == opDelete || op.kind == opEdit) || op.kind == opCopy && (!source.present || op.from == op.key) {
		rec.kind = opPut
	}
	rec.started = time.Now()
	switch rec.kind {
	case opDelete:
		err = w.remove(ctx, op, &rec)
	case opEdit:
		rec.body = seen.body
		rec.conditional = true // on its source, which is the object itself
		err = w.copy(ctx, op, op.key, seen, &rec, false)
	case opCopy:
		rec.body, rec.conditional = source.body, false
		if op.keepMeta {
			rec.meta = source.op
		}
		err = w.copy(ctx, op, op.from, source, &rec, op.keepMeta)
	case opMultipart:
		err = w.multipart(ctx, op, &rec)
	case opPut:
		err = w.put(ctx, op, &rec)
	}
	rec.ended = time.Now()
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
	}
	return true, err // e.g. a key or a header that the server does not take: the workload is wrong
}

// errNothingSent marks failures before the request that would have changed the object.
var errNothingSent = errors.New("nothing was changed")

func (w *writer) metadata(op operation, body int) map[string]string {
	return map[string]string{metaOp: strconv.Itoa(op.number), metaBody: strconv.Itoa(body), metaNote: op.note}
}

// condition is If-Match and If-None-Match of a write.
func condition(rec *write) (match, noneMatch *string) {
	switch {
	case !rec.conditional:
		return nil, nil
	case rec.seen.present:
		return aws.String(rec.seen.etag), nil
	}
	return nil, aws.String("*")
}

func (w *writer) put(ctx context.Context, op operation, rec *write) error {
	in := &awss3.PutObjectInput{
		Bucket: &w.replica.bucket, Key: &op.key, Body: bytes.NewReader(bodyOf(w.seed, op.number, min(op.size, 4<<20))),
		ContentType: &op.contentType, Metadata: w.metadata(op, op.number),
	}
	in.IfMatch, in.IfNoneMatch = condition(rec)
	out, err := w.replica.client.PutObject(ctx, in)
	if err != nil {
		return fmt.Errorf("put %q at %s: %w", op.key, w.replica.name, err)
	}
	rec.etag, rec.versionID = aws.ToString(out.ETag), aws.ToString(out.VersionId)
	return nil
}

// remove has a condition only where the bucket has no versions: MinIO ignores it.
func (w *writer) remove(ctx context.Context, op operation, rec *write) error {
	in := &awss3.DeleteObjectInput{Bucket: &w.replica.bucket, Key: &op.key}
	rec.conditional = !w.replica.versioned
	if rec.conditional {
		in.IfMatch = aws.String(rec.seen.etag)
	}
	out, err := w.replica.client.DeleteObject(ctx, in)
	if err != nil {
		return fmt.Errorf("delete %q at %s: %w", op.key, w.replica.name, err)
	}
	rec.versionID = aws.ToString(out.VersionId)
	return nil
}

// copy is a server-side copy of exactly the bytes that were seen. Onto itself it is how S3 edits metadata.
func (w *writer) copy(ctx context.Context, op operation, from string, source sight, rec *write, keep bool) error {
	in := &awss3.CopyObjectInput{
		Bucket: &w.replica.bucket, Key: &op.key, CopySource: copySource(w.replica.bucket, from), CopySourceIfMatch: aws.String(source.etag),
		MetadataDirective: types.MetadataDirectiveCopy,
	}
	if !keep {
		in.MetadataDirective, in.ContentType, in.Metadata = types.MetadataDirectiveReplace, &op.contentType, w.metadata(op, source.body)
	}
	out, err := w.replica.client.CopyObject(ctx, in)
	if err != nil {
		return fmt.Errorf("copy %q to %q at %s: %w", from, op.key, w.replica.name, err)
	}
	if out.CopyObjectResult != nil {
		rec.etag = aws.ToString(out.CopyObjectResult.ETag)
	}
	rec.versionID = aws.ToString(out.VersionId)
	return nil
}

// multipart has its condition, if any, on the completion.
func (w *writer) multipart(ctx context.Context, op operation, rec *write) error {
	c, bucket := w.replica.client, &w.replica.bucket
	up, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
		Bucket: bucket, Key: &op.key, ContentType: &op.contentType, Metadata: w.metadata(op, op.number),
	})
	if err != nil {
		return fmt.Errorf("begin upload of %q at %s: %w: %w", op.key, w.replica.name, errNothingSent, err)
	}
	body := bodyOf(w.seed, op.number, op.size)
	var parts []types.CompletedPart
	for n := int32(1); len(body) > 0; n++ {
		size := min(len(body), largePartSize)
		p, err := c.UploadPart(ctx, &awss3.UploadPartInput{
			Bucket: bucket, Key: &op.key, UploadId: up.UploadId, PartNumber: aws.Int32(n), Body: bytes.NewReader(body[:size]),
		})
		if err != nil {
			return errors.Join(fmt.Errorf("put part %d of %q at %s: %w: %w", n, op.key, w.replica.name, errNothingSent, err), w.abort(ctx, op.key, up.UploadId))
		}
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: p.ETag})
		body = body[size:]
	}
	in := &awss3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: &op.key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	in.IfMatch, in.IfNoneMatch = condition(rec)
	out, err := c.CompleteMultipartUpload(ctx, in)
	if err != nil {
		err = fmt.Errorf("complete %q at %s: %w", op.key, w.replica.name, err)
		if statusOf(err) < 500 && statusOf(err) != 0 {
			return errors.Join(err, w.abort(ctx, op.key, up.UploadId))
		}
		return err
	}
	rec.etag, rec.versionID = aws.ToString(out.ETag), aws.ToString(out.VersionId)
	return nil
}

func (w *writer) abort(ctx context.Context, key string, id *string) error {
	_, err := w.replica.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &w.replica.bucket, Key: &key, UploadId: id})
	if err != nil && statusOf(err) != http.StatusNotFound {
		return fmt.Errorf("abort upload of %q at %s: %w", key, w.replica.name, err)
	}
	return nil
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
