package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/demo/s3server"
)

// reservedMetadata is the prefix of the metadata that bucketmesh adds to what it writes. Users' tools see it; it is not
// part of what users wrote.
const reservedMetadata = "bucketmesh-"

// Site is a replica as a user's tool sees it: an endpoint, a bucket, a plain client.
type Site struct {
	Name     string
	Provider string
	Endpoint string
	Bucket   string
	Client   *s3.Client
}

func newSite(name string, s *s3server.Server) *Site {
	return &Site{
		Name: name, Provider: "versitygw", Endpoint: s.Endpoint(), Bucket: s.Bucket,
		Client: s3.New(s3.Options{
			Region: "us-east-1", BaseEndpoint: aws.String(s.Endpoint()), UsePathStyle: true,
			Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
			HTTPClient:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}},
		}),
	}
}

// Object is an object as it was read.
type Object struct {
	Key         string
	ETag        string // without quotes
	Size        int64
	SHA256      string // of the bytes; "" if they were not read
	ContentType string
	Metadata    map[string]string // of the user
}

// Identity is one word for all that must be the same everywhere: bytes, content type and metadata.
func (o Object) Identity() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %q", o.Size, o.SHA256, o.ContentType)
	for _, k := range slices.Sorted(maps.Keys(o.Metadata)) {
		fmt.Fprintf(h, " %q=%q", k, o.Metadata[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func usersOwn(metadata map[string]string) map[string]string {
	own := map[string]string{}
	for k, v := range metadata {
		if k = strings.ToLower(k); !strings.HasPrefix(k, reservedMetadata) {
			own[k] = v
		}
	}
	return own
}

// put writes a small object, over the one with the tag that the user has read, if there is one.
func (s *Site) put(ctx context.Context, o Object, body string, over string) error {
	in := &s3.PutObjectInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), Body: strings.NewReader(body),
		ContentType: aws.String(o.ContentType), Metadata: o.Metadata,
	}
	if over != "" {
		in.IfMatch = aws.String(`"` + over + `"`)
	}
	if _, err := s.Client.PutObject(ctx, in); err != nil {
		return fmt.Errorf("put %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// edit replaces the metadata of an object; its bytes stay.
func (s *Site) edit(ctx context.Context, o Object) error {
	_, err := s.Client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: aws.String(s.Bucket), Key: aws.String(o.Key), CopySource: aws.String(s.Bucket + "/" + escape(o.Key)),
		CopySourceIfMatch: aws.String(`"` + o.ETag + `"`), MetadataDirective: types.MetadataDirectiveReplace,
		ContentType: aws.String(o.ContentType), Metadata: o.Metadata,
	})
	if err != nil {
		return fmt.Errorf("edit metadata of %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// escape is a key in a URL, with its slashes.
func escape(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.ReplaceAll(strings.Join(parts, "/"), "+", "%2B")
}

func (s *Site) remove(ctx context.Context, key string) error {
	_, err := s.Client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(s.Bucket), Key: aws.String(key)})
	if err != nil {
		return fmt.Errorf("delete %s at %s: %w", key, s.Name, err)
	}
	return nil
}

// Head reads everything of an object but its bytes; ok is false if there is none.
func (s *Site) Head(ctx context.Context, key string) (o Object, ok bool, err error) {
	out, err := s.Client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(s.Bucket), Key: aws.String(key)})
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound {
		return Object{}, false, nil
	}
	if err != nil {
		return Object{}, false, fmt.Errorf("head %s at %s: %w", key, s.Name, err)
	}
	return Object{
		Key: key, ETag: strings.Trim(aws.ToString(out.ETag), `"`), Size: aws.ToInt64(out.ContentLength),
		ContentType: aws.ToString(out.ContentType), Metadata: usersOwn(out.Metadata),
	}, true, nil
}

// Read reads an object to its last byte.
func (s *Site) Read(ctx context.Context, key string) (Object, error) {
	out, err := s.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.Bucket), Key: aws.String(key)})
	if err != nil {
		return Object{}, fmt.Errorf("get %s at %s: %w", key, s.Name, err)
	}
	defer func() { _ = out.Body.Close() }()
	h := sha256.New()
	n, err := io.Copy(h, out.Body)
	if err != nil {
		return Object{}, fmt.Errorf("read %s at %s: %w", key, s.Name, err)
	}
	return Object{
		Key: key, ETag: strings.Trim(aws.ToString(out.ETag), `"`), Size: n, SHA256: hex.EncodeToString(h.Sum(nil)),
		ContentType: aws.ToString(out.ContentType), Metadata: usersOwn(out.Metadata),
	}, nil
}

// List is every key of the bucket with its tag and size, but for what bucketmesh keeps there for itself.
func (s *Site) List(ctx context.Context) (map[string]Object, error) {
	all := map[string]Object{}
	pages := s3.NewListObjectsV2Paginator(s.Client, &s3.ListObjectsV2Input{Bucket: aws.String(s.Bucket)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.Name, err)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if strings.HasPrefix(key, config.ReservedPrefix) {
				continue
			}
			all[key] = Object{Key: key, ETag: strings.Trim(aws.ToString(o.ETag), `"`), Size: aws.ToInt64(o.Size)}
		}
	}
	return all, nil
}

// Snapshot reads the whole bucket, some objects at once.
func (s *Site) Snapshot(ctx context.Context, parallel int) (map[string]Object, error) {
	keys, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	found := make(chan Object, len(keys))
	var all errgroup.Group
	all.SetLimit(parallel)
	for key := range keys {
		all.Go(func() error {
			o, err := s.Read(ctx, key)
			if err == nil {
				found <- o
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	close(found)
	objects := make(map[string]Object, len(keys))
	for o := range found {
		objects[o.Key] = o
	}
	return objects, nil
}
