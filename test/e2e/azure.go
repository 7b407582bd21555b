package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// azureBucket is a container at Azurite, behind its gate. An ETag changes with each edit of the metadata.
type azureBucket struct {
	name      string // of the replica
	container *container.Client
}

// newAzureBucket makes a container's client that never tries again by itself.
func newAzureBucket(name, endpoint, account, key, bucket string) (*azureBucket, error) {
	cred, err := container.NewSharedKeyCredential(account, key)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	c, err := container.NewClientWithSharedKeyCredential(endpoint+"/"+account+"/"+bucket, cred, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}, Transport: httpClient()},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &azureBucket{name, c}, nil
}

func (b *azureBucket) create(ctx context.Context) error {
	if _, err := b.container.Create(ctx, nil); err != nil {
		return fmt.Errorf("create container at %s: %w", b.name, err)
	}
	return nil
}

// access is If-Match or If-None-Match.
func (c condition) access() *blob.AccessConditions {
	m := &blob.ModifiedAccessConditions{}
	switch {
	case !c.asked:
		return nil
	case c.seen.present:
		m.IfMatch = new(azcore.ETag(c.seen.etag))
	default:
		m.IfNoneMatch = new(azcore.ETagAny)
	}
	return &blob.AccessConditions{ModifiedAccessConditions: m}
}

func etagOf(e *azcore.ETag) string {
	if e == nil {
		return ""
	}
	return string(*e)
}

// toAzure and fromAzure change the form of metadata. The SDK gives names back as HTTP spells them.
func toAzure(meta map[string]string) map[string]*string {
	m := make(map[string]*string, len(meta))
	for k, v := range meta {
		m[k] = &v
	}
	return m
}

func fromAzure(meta map[string]*string) map[string]string {
	m := make(map[string]string, len(meta))
	for k, v := range meta {
		if v != nil {
			m[strings.ToLower(k)] = *v
		}
	}
	return m
}

func (b *azureBucket) look(ctx context.Context, key string) (sight, error) {
	p, err := b.container.NewBlobClient(key).GetProperties(ctx, nil)
	if statusOf(err) == http.StatusNotFound {
		return sight{}, nil
	}
	if err != nil {
		return sight{}, fmt.Errorf("look at %q at %s: %w", key, b.name, err)
	}
	s := sight{present: true, etag: etagOf(p.ETag)}
	if s.op, s.body, err = authors(fromAzure(p.Metadata)); err != nil {
		return s, fmt.Errorf("look at %q at %s: %w", key, b.name, err)
	}
	return s, nil
}

func (b *azureBucket) put(ctx context.Context, key string, body []byte, p properties, c condition) (written, error) {
	r, err := b.container.NewBlockBlobClient(key).Upload(ctx, streaming.NopCloser(bytes.NewReader(body)), &blockblob.UploadOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &p.contentType}, Metadata: toAzure(p.meta), AccessConditions: c.access(),
	})
	if err != nil {
		return written{}, fmt.Errorf("put %q at %s: %w", key, b.name, err)
	}
	return written{etag: etagOf(r.ETag)}, nil
}

// putLarge stages blocks and commits them. Blocks that are not committed belong to the key, not to an upload: those of
// two writers must not have the same ids, and any other write of the key throws them away.
func (b *azureBucket) putLarge(ctx context.Context, key string, body []byte, p properties, c condition) (written, error) {
	target := b.container.NewBlockBlobClient(key)
	var ids []string
	for n := 1; len(body) > 0; n++ {
		size := min(len(body), largePartSize)
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%016s-%06d", p.meta[metaOp], n))
		if _, err := target.StageBlock(ctx, id, streaming.NopCloser(bytes.NewReader(body[:size])), nil); err != nil {
			return written{}, fmt.Errorf("stage block %d of %q at %s: %w: %w", n, key, b.name, errNothingSent, err)
		}
		ids = append(ids, id)
		body = body[size:]
	}
	r, err := target.CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &p.contentType}, Metadata: toAzure(p.meta), AccessConditions: c.access(),
	})
	if err != nil {
		return written{}, fmt.Errorf("commit %q at %s: %w", key, b.name, err)
	}
	return written{etag: etagOf(r.ETag)}, nil
}

func (b *azureBucket) remove(ctx context.Context, key string, c condition) (written, error) {
	if _, err := b.container.NewBlobClient(key).Delete(ctx, &blob.DeleteOptions{AccessConditions: c.access()}); err != nil {
		return written{}, fmt.Errorf("delete %q at %s: %w", key, b.name, err)
	}
	return written{}, nil
}

// copy keeps the source's content type: Azure has no way to set another.
func (b *azureBucket) copy(ctx context.Context, key, from string, source sight, p *properties, c condition) (written, error) {
	o := &blob.StartCopyFromURLOptions{
		AccessConditions:               c.access(),
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: new(azcore.ETag(source.etag))},
	}
	if p != nil {
		o.Metadata = toAzure(p.meta)
	}
	r, err := b.container.NewBlobClient(key).StartCopyFromURL(ctx, b.container.NewBlobClient(from).URL(), o)
	if err == nil && (r.CopyStatus == nil || *r.CopyStatus != blob.CopyStatusTypeSuccess) {
		err = errors.New("the copy is not done yet: within one account it should be")
	}
	if err != nil {
		return written{}, fmt.Errorf("copy %q to %q at %s: %w", from, key, b.name, err)
	}
	return written{etag: etagOf(r.ETag)}, nil
}

func (b *azureBucket) edit(ctx context.Context, key string, seen sight, p properties) (written, error) {
	r, err := b.container.NewBlobClient(key).SetMetadata(ctx, toAzure(p.meta), &blob.SetMetadataOptions{AccessConditions: condition{true, seen}.access()})
	if err != nil {
		return written{}, fmt.Errorf("edit %q at %s: %w", key, b.name, err)
	}
	return written{etag: etagOf(r.ETag)}, nil
}

func (b *azureBucket) list(ctx context.Context) (map[string]entry, error) {
	all := map[string]entry{}
	for pages := b.container.NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", b.name, err)
		}
		for _, item := range page.Segment.BlobItems {
			if item.Name == nil || item.Properties == nil || item.Properties.ContentLength == nil {
				return nil, fmt.Errorf("list %s: a blob without a name or a length", b.name)
			}
			if !strings.HasPrefix(*item.Name, reservedKeys) {
				all[*item.Name] = entry{etag: etagOf(item.Properties.ETag), size: *item.Properties.ContentLength}
			}
		}
	}
	return all, nil
}

func (b *azureBucket) get(ctx context.Context, key string) (*content, error) {
	r, err := b.container.NewBlobClient(key).DownloadStream(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("get %q at %s: %w", key, b.name, err)
	}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, fmt.Errorf("read %q at %s: %w", key, b.name, err)
	}
	c := &content{body: body, meta: fromAzure(r.Metadata)}
	if r.ContentType != nil {
		c.contentType = *r.ContentType
	}
	return c, nil
}
