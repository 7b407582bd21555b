package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// List implements driver.Bucket. Keys are asked for in URL encoding: XML can't carry every character of a key.
func (b *Bucket) List(ctx context.Context, opts *driver.ListOptions) (*driver.Page, error) {
	if opts == nil {
		opts = &driver.ListOptions{}
	}
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	in := &awss3.ListObjectsV2Input{
		Bucket: &b.cfg.Bucket, Prefix: opt(opts.Prefix), StartAfter: opt(opts.After), EncodingType: types.EncodingTypeUrl,
	}
	if opts.Limit > 0 {
		in.MaxKeys = aws.Int32(int32(min(opts.Limit, 1000))) // at most 1000
	}
	out, err := b.client.ListObjectsV2(ctx, in)
	if err = b.fail(err); err != nil {
		return nil, err
	}
	page := &driver.Page{Objects: make([]driver.Attrs, 0, len(out.Contents))}
	for _, o := range out.Contents {
		key, err := decodeKey(o.Key, out.EncodingType)
		if err != nil {
			return nil, err
		}
		etag := unquote(o.ETag)
		page.Objects = append(page.Objects, driver.Attrs{
			Key: key, Size: aws.ToInt64(o.Size), ETag: etag, Tag: etag, ModTime: aws.ToTime(o.LastModified),
		})
	}
	if aws.ToBool(out.IsTruncated) {
		if len(page.Objects) == 0 {
			return nil, errkind.New(errkind.Unavailable, "the server says that there is more, and gave nothing")
		}
		page.Next = page.Objects[len(page.Objects)-1].Key
	}
	return page, nil
}

func decodeKey(key *string, encoding types.EncodingType) (string, error) {
	if encoding != types.EncodingTypeUrl {
		return aws.ToString(key), nil
	}
	s, err := url.QueryUnescape(aws.ToString(key))
	if err != nil {
		return "", errkind.New(errkind.Unavailable, "decode listed key %q: %w", aws.ToString(key), err)
	}
	return s, nil
}

// Pages of Versions. The first is small because the prefix also matches longer keys, and most keys have few versions.
const (
	firstVersions = 16
	moreVersions  = 1000
)

// Versions implements driver.Versioner.
//
// S3 lists versions and delete markers of a key in one sequence, newest first; the SDK sorts them into two lists, and
// their times have only seconds. What is newer decides whether a delete was right, so the sequence is taken from the
// document itself.
func (b *Bucket) Versions(ctx context.Context, key string) ([]driver.Attrs, error) {
	var all []driver.Attrs
	in := &awss3.ListObjectVersionsInput{
		Bucket: &b.cfg.Bucket, Prefix: &key, EncodingType: types.EncodingTypeUrl, MaxKeys: aws.Int32(firstVersions),
	}
	for {
		page, out, err := b.versionsPage(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, v := range page {
			if v.Key != key { // the key itself is the first one that has it as a prefix
				return all, nil
			}
			all = append(all, v)
		}
		if !aws.ToBool(out.IsTruncated) {
			return all, nil
		}
		// The markers are the server's business (MinIO puts more than a key into them); they are handed back as they came.
		next, err := decodeKey(out.NextKeyMarker, out.EncodingType)
		if err != nil {
			return nil, err
		}
		if next == "" || len(page) == 0 {
			return nil, errkind.New(errkind.Unavailable, "the server says that there are more versions, and not where")
		}
		in.KeyMarker, in.VersionIdMarker, in.MaxKeys = &next, out.NextVersionIdMarker, aws.Int32(moreVersions)
	}
}

// versionsPage is one page in the document's order.
func (b *Bucket) versionsPage(ctx context.Context, in *awss3.ListObjectVersionsInput) ([]driver.Attrs, *awss3.ListObjectVersionsOutput, error) {
	ctx, cancel := b.request(ctx, 0)
	defer cancel()
	var document bytes.Buffer
	out, err := b.client.ListObjectVersions(ctx, in, keepDocument(&document))
	if err = b.fail(err); err != nil {
		return nil, nil, err
	}
	kinds, err := sequence(&document)
	if err != nil {
		return nil, nil, errkind.New(errkind.Unavailable, "read the order of versions: %w", err)
	}
	versions, markers := out.Versions, out.DeleteMarkers
	var page []driver.Attrs
	for _, marker := range kinds {
		var a driver.Attrs
		var key *string
		switch {
		case marker && len(markers) > 0:
			m := markers[0]
			markers = markers[1:]
			key = m.Key
			a = driver.Attrs{
				VersionID: versionID(m.VersionId), ModTime: aws.ToTime(m.LastModified), DeleteMarker: true, IsLatest: aws.ToBool(m.IsLatest),
			}
		case !marker && len(versions) > 0:
			v := versions[0]
			versions = versions[1:]
			key = v.Key
			a = driver.Attrs{
				VersionID: versionID(v.VersionId), ModTime: aws.ToTime(v.LastModified), IsLatest: aws.ToBool(v.IsLatest),
				Size: aws.ToInt64(v.Size), ETag: unquote(v.ETag), Tag: unquote(v.ETag),
			}
		default:
			return nil, nil, errkind.New(errkind.Unavailable, "the order of versions doesn't fit the versions")
		}
		if a.Key, err = decodeKey(key, out.EncodingType); err != nil {
			return nil, nil, err
		}
		page = append(page, a)
	}
	return page, out, nil
}

// keepDocument copies the answer's body while the SDK reads it.
func keepDocument(into *bytes.Buffer) func(*awss3.Options) {
	return func(o *awss3.Options) {
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
			return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KeepDocument",
				func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
					out, meta, err := next.HandleDeserialize(ctx, in)
					if resp, ok := out.RawResponse.(*smithyhttp.Response); ok && resp.Body != nil {
						resp.Body = &tee{io.TeeReader(resp.Body, into), resp.Body}
					}
					return out, meta, err
				}), middleware.After)
		})
	}
}

type tee struct {
	io.Reader
	io.Closer
}

// sequence tells for each entry of a ListVersionsResult, in order, whether it is a delete marker.
func sequence(document io.Reader) ([]bool, error) {
	var markers []bool
	d := xml.NewDecoder(document)
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return markers, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parse listing: %w", err)
		}
		if el, ok := t.(xml.StartElement); ok {
			switch el.Name.Local {
			case "Version":
				markers = append(markers, false)
			case "DeleteMarker":
				markers = append(markers, true)
			}
		}
	}
}
