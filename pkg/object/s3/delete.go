package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/guard"
)

// Delete implements driver.Bucket. How the condition is kept follows Capabilities.DeleteGuard.
func (b *Bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) (*driver.Attrs, error) {
	if opts == nil {
		opts = &driver.DeleteOptions{}
	}
	how, err := driver.GuardOf(opts.If, b.caps.DeleteGuard, driver.GuardNone)
	if err != nil {
		return nil, err
	}
	if how == driver.GuardMarker {
		return b.checked(ctx, key, opts.If, func(ctx context.Context) (*driver.Attrs, error) { return b.remove(ctx, key, "", "") })
	}
	return b.remove(ctx, key, opts.VersionID, opts.If.Match)
}

// checked is a write whose condition is checked after the fact.
func (b *Bucket) checked(ctx context.Context, key string, want driver.Precondition, write func(context.Context) (*driver.Attrs, error)) (*driver.Attrs, error) {
	return guard.Write(ctx, want, guard.Raw{
		Stat:     func(ctx context.Context) (*driver.Attrs, error) { return b.head(ctx, key, "") },
		Write:    write,
		Remove:   func(ctx context.Context, id string) (*driver.Attrs, error) { return b.remove(ctx, key, id, "") },
		Versions: func(ctx context.Context) ([]driver.Attrs, error) { return b.Versions(ctx, key) },
	})
}

// remove is one DELETE request.
func (b *Bucket) remove(ctx context.Context, key, version, match string) (*driver.Attrs, error) {
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	out, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{
		Bucket: &b.cfg.Bucket, Key: &key, VersionId: opt(version), IfMatch: quote(match),
	})
	if err != nil {
		if match == "" && code(err) == "NoSuchKey" { // S3 answers 204; servers that don't mean the same
			return &driver.Attrs{Key: key}, nil
		}
		return nil, b.failWrite(err, match != "")
	}
	b.alive.Seen()
	return &driver.Attrs{
		Key: key, VersionID: versionID(out.VersionId), DeleteMarker: aws.ToBool(out.DeleteMarker), RequestID: requestID(out),
	}, nil
}
