package azblob

import (
	"cmp"
	"context"
	"encoding/base64"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Azure has no uploads: it has blocks that belong to a key and are not part of it yet. An upload is an id of ours in the ids
// of its blocks. What follows from that:
//
//   - Begin sends nothing, and an upload without a stored part is not known to anybody.
//   - Whatever commits the key (a Put, a user's own upload, another Complete) discards all blocks that wait at it. Complete
//     is a Conflict then: the upload has to start again.
//   - There is no abort: Azure drops blocks a week after the last one was stored, or with the next write of the key. (Committing
//     an empty list would drop them, and replace the object.) Until then they are paid for. Abort makes this process refuse the
//     upload from now on.

// Begin implements driver.Multiparter. It sends nothing; it refuses what Complete couldn't write.
func (b *Bucket) Begin(_ context.Context, key string, opts *driver.PutOptions) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	if opts != nil {
		if _, err := encode(opts.Properties); err != nil {
			return "", err
		}
	}
	return newUpload(), nil
}

// underWay refuses an upload that can't be under way.
func (b *Bucket) underWay(uploadID string) error {
	if !isUpload(uploadID) || b.ended.has(uploadID) {
		return errkind.New(errkind.NotFound, "there is no upload %q", uploadID)
	}
	return nil
}

// PutPart implements driver.Multiparter.
func (b *Bucket) PutPart(ctx context.Context, key, uploadID string, n int, r io.ReadSeeker, size int64) (driver.Part, error) {
	if err := cmp.Or(checkKey(key), b.underWay(uploadID)); err != nil {
		return driver.Part{}, err
	}
	if n < 1 || n > maxParts || size < minBlock || size > maxBlock {
		return driver.Part{}, errkind.New(errkind.Invalid, "part %d of %d bytes: the number must be in 1..%d, the size in %d..%d",
			n, size, maxParts, minBlock, maxBlock)
	}
	body, err := newSection(r, size)
	if err != nil {
		return driver.Part{}, err
	}
	sum, err := body.sums("", "")
	if err != nil {
		return driver.Part{}, err
	}
	bl := block{upload: uploadID, number: n, sent: time.Now(), md5: [16]byte(sum)}
	ctx, cancel := b.request(ctx, size)
	defer cancel()
	out, err := b.client.NewBlockBlobClient(key).StageBlock(ctx, bl.id(), body, &blockblob.StageBlockOptions{
		TransactionalValidation: blob.TransferValidationTypeMD5(sum),
	})
	if err != nil {
		return driver.Part{}, fail(err)
	}
	if err := kept(out.ContentMD5, sum); err != nil {
		return driver.Part{}, err
	}
	return part(bl, size), nil
}

func part(bl block, size int64) driver.Part {
	return driver.Part{Number: bl.number, Size: size, ETag: bl.etag(), Checksum: base64.StdEncoding.EncodeToString(bl.md5[:])}
}

// ListParts implements driver.Multiparter. Of a part that was stored more than once it is the latest. An upload without a
// stored part is NotFound: nobody can tell whether it was begun, finished or discarded.
func (b *Bucket) ListParts(ctx context.Context, key, uploadID string) ([]driver.Part, error) {
	if err := cmp.Or(checkKey(key), b.underWay(uploadID)); err != nil {
		return nil, err
	}
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	out, err := b.client.NewBlockBlobClient(key).GetBlockList(ctx, blockblob.BlockListTypeUncommitted, nil)
	if err != nil {
		return nil, fail(err)
	}
	latest, sizes := map[int]block{}, map[int]int64{}
	for _, u := range out.UncommittedBlocks {
		bl, ours := parseBlock(str(u.Name))
		if !ours || bl.upload != uploadID {
			continue
		}
		if before, ok := latest[bl.number]; !ok || bl.sent.After(before.sent) {
			latest[bl.number], sizes[bl.number] = bl, or(u.Size)
		}
	}
	if len(latest) == 0 {
		return nil, errkind.New(errkind.NotFound, "no part of upload %q is there", uploadID)
	}
	parts := make([]driver.Part, 0, len(latest))
	for _, n := range slices.Sorted(maps.Keys(latest)) {
		parts = append(parts, part(latest[n], sizes[n]))
	}
	return parts, nil
}

// Complete implements driver.Multiparter. A checksum of the whole in opts is not looked at: each part was verified when it was
// stored, and what is committed are the very blocks that parts name.
func (b *Bucket) Complete(ctx context.Context, key, uploadID string, parts []driver.Part, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	if _, err := driver.GuardOf(opts.If, b.caps.CompleteGuard, b.caps.CompleteGuard); err != nil {
		return nil, err
	}
	if err := cmp.Or(checkKey(key), b.underWay(uploadID)); err != nil {
		return nil, err
	}
	props, err := encode(opts.Properties)
	if err != nil {
		return nil, err
	}
	ids, size, err := blockList(uploadID, parts)
	if err != nil {
		return nil, err
	}
	if opts.Size > 0 && size != opts.Size {
		return nil, errkind.New(errkind.Invalid, "the parts have %d bytes, the object should have %d", size, opts.Size)
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.CompleteTimeout)
	defer cancel()
	out, err := b.client.NewBlockBlobClient(key).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
		HTTPHeaders: props.headers, Metadata: props.metadata, Tags: props.tags, AccessConditions: condition(opts.If),
	})
	switch {
	case code(err) == "InvalidBlockList":
		return nil, failure(err, meaning{errkind.Conflict,
			"parts of the upload are gone: another write to the key discards them, and so does a week; start again"})
	case err != nil:
		return nil, failTagged(err, opts)
	}
	b.ended.add(uploadID)
	a := written(key, opts)
	a.Size, a.ETag, a.VersionID, a.ModTime, a.RequestID = size, tagOf(out.ETag), str(out.VersionID), or(out.LastModified), str(out.RequestID)
	a.Tag = a.ETag
	return told(a)
}

// blockList is the ids of the parts' blocks, and their size.
func blockList(uploadID string, parts []driver.Part) (ids []string, size int64, err error) {
	for _, p := range parts {
		bl, ok := parsePart(uploadID, p.Number, p.ETag)
		if !ok {
			return nil, 0, errkind.New(errkind.Invalid, "part %d with the ETag %q was never stored", p.Number, p.ETag)
		}
		ids = append(ids, bl.id())
		size += p.Size
	}
	return ids, size, nil
}

// Abort implements driver.Multiparter. It sends nothing: see the top of this file.
func (b *Bucket) Abort(_ context.Context, _, uploadID string) error {
	b.ended.add(uploadID)
	return nil
}
