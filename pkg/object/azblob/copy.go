package azblob

import (
	"context"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// sourceLife is how long a copy may read its source: the copy is one request.
const sourceLife = time.Hour

// Location implements driver.Copier: containers of one account can read each other.
func (b *Bucket) Location() (store, bucket string) { return b.store, b.cfg.Container }

// Copy implements driver.Copier, with Put Blob From URL. (Copy Blob From URL can't set the headers of the copy, and goes to 256 MiB
// only.) The source is read with a token of our own identity, or a signature by the account key that is good for this one
// blob. Without metadata the copy might get the source's: that one is Unsupported.
func (b *Bucket) Copy(ctx context.Context, src driver.Source, key string, opts *driver.PutOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.PutOptions{}
	}
	if _, err := driver.GuardOf(opts.If, b.caps.PutMatch, b.caps.PutNotExist); err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	props, err := encode(opts.Properties)
	switch {
	case err != nil:
		return nil, err
	case src.Store != b.store:
		return nil, errkind.New(errkind.Unsupported, "the source is in %s, which is another account", src.Store)
	case opts.Size > maxPut:
		return nil, errkind.New(errkind.Unsupported, "the object has %d bytes, Azure copies %d in one request", opts.Size, maxPut)
	case len(props.metadata) == 0:
		return nil, errkind.New(errkind.Unsupported, "a copy without metadata of its own gets the source's")
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.CompleteTimeout)
	defer cancel()
	from, bearer, err := b.source(ctx, src)
	if err != nil {
		return nil, err
	}
	in := &blockblob.UploadBlobFromURLOptions{
		HTTPHeaders: props.headers, Metadata: props.metadata, Tags: props.tags, AccessConditions: condition(opts.If),
		CopySourceBlobProperties: new(false), CopySourceAuthorization: bearer,
	}
	if src.Tag != "" {
		in.SourceModifiedAccessConditions = &blob.SourceModifiedAccessConditions{SourceIfMatch: quoted(src.Tag)}
	}
	out, err := b.client.NewBlockBlobClient(key).UploadBlobFromURL(ctx, from, in)
	if err != nil {
		return nil, failCopy(err, opts)
	}
	a := written(key, opts)
	a.ETag, a.VersionID, a.ModTime, a.RequestID = tagOf(out.ETag), str(out.VersionID), or(out.LastModified), str(out.RequestID)
	a.Tag = a.ETag
	return told(a)
}

// failCopy tells what is wrong with the source from what is wrong with the target.
func failCopy(err error, opts *driver.PutOptions) error {
	if code(err) != "CannotVerifyCopySource" {
		return failTagged(err, opts)
	}
	switch status(err) {
	case http.StatusNotFound:
		return failure(err, meaning{errkind.NotFound, "the source is not there"})
	case http.StatusPreconditionFailed:
		return failure(err, meaning{errkind.PreconditionFailed, "the source was changed"})
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return failure(err, meaning{kind: errkind.Throttled})
	}
	return failure(err, meaning{errkind.Unsupported, "the service can't read the source with these credentials"})
}

// source is where to copy from, and what allows it: a signature in the URL, or a token.
func (b *Bucket) source(ctx context.Context, src driver.Source) (from string, bearer *string, err error) {
	if err := checkKey(src.Key); err != nil {
		return "", nil, err
	}
	in, err := b.container(src.Bucket)
	if err != nil {
		return "", nil, err
	}
	c := in.NewBlobClient(src.Key)
	if src.VersionID != "" {
		if c, err = c.WithVersionID(src.VersionID); err != nil {
			return "", nil, errkind.New(errkind.Invalid, "address version %q: %w", src.VersionID, err)
		}
	}
	if b.key == nil {
		token, err := b.token.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
		if err != nil {
			return "", nil, fail(err)
		}
		return c.URL(), new("Bearer " + token.Token), nil
	}
	q, err := sas.BlobSignatureValues{
		ContainerName: src.Bucket, BlobName: src.Key, BlobVersion: src.VersionID,
		Permissions: (&sas.BlobPermissions{Read: true}).String(), ExpiryTime: time.Now().UTC().Add(sourceLife),
	}.SignWithSharedKey(b.key)
	if err != nil {
		return "", nil, errkind.New(errkind.Invalid, "sign source: %w", err)
	}
	parts, err := blob.ParseURL(c.URL())
	if err != nil {
		return "", nil, errkind.New(errkind.Invalid, "sign source: %w", err)
	}
	parts.SAS = q
	return parts.String(), nil, nil
}
