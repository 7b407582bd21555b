package demo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
)

// gcsSite is a bucket at a server that speaks Google Cloud Storage's protocol. What a user saw is the generation together with the
// metageneration, so that an edit of metadata is not overwritten unseen.
type gcsSite struct {
	Place

	bucket *storage.BucketHandle
}

func newGCSSite(ctx context.Context, name, endpoint, bucket string) (*gcsSite, error) {
	c, err := storage.NewClient(ctx, option.WithEndpoint(endpoint+"/storage/v1/"), option.WithHTTPClient(userClient()))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &gcsSite{
		Place:  Place{Name: name, Provider: "gcs", Server: "fake-gcs-server", Endpoint: endpoint, Bucket: bucket},
		bucket: c.Bucket(bucket).Retryer(storage.WithPolicy(storage.RetryNever)),
	}, nil
}

// URL implements Site.
func (s *gcsSite) URL() string { return "gs://" + s.Bucket + "?endpoint=" + s.Endpoint }

// Guide implements Site. Google's own tool wants an account even where none is asked for; the interface below it does not.
func (s *gcsSite) Guide() Guide {
	at := s.Endpoint + "/storage/v1/b/" + s.Bucket + "/o"
	return Guide{
		Write: "curl -fsS -o /dev/null -H 'Content-Type: application/octet-stream' --data-binary @- '" + s.Endpoint + "/upload/storage/v1/b/" + s.Bucket + "/o?uploadType=media&name={key}'",
		Read:  "curl -fsS '" + at + "/{key}?alt=media'",
		List:  "curl -fsS '" + at + "?prefix={key}&fields=items(name)'",
	}
}

func tagOf(a *storage.ObjectAttrs) string {
	return fmt.Sprintf("%d.%d", a.Generation, a.Metageneration)
}

// over is a key with the condition that it is as it was read.
func (s *gcsSite) over(key, tag string) (*storage.ObjectHandle, error) {
	o := s.bucket.Object(key)
	if tag == "" {
		return o, nil
	}
	var c storage.Conditions
	if _, err := fmt.Sscanf(tag, "%d.%d", &c.GenerationMatch, &c.MetagenerationMatch); err != nil {
		return nil, fmt.Errorf("read generations %q: %w", tag, err)
	}
	return o.If(c), nil
}

// Put implements Site.
func (s *gcsSite) Put(ctx context.Context, o Object, body, over string) error {
	return s.write(ctx, o, strings.NewReader(body), over, 0)
}

// Upload implements Site, with a resumable upload.
func (s *gcsSite) Upload(ctx context.Context, o Object, body io.Reader) error {
	return s.write(ctx, o, io.LimitReader(body, o.Size), "", partSize)
}

func (s *gcsSite) write(ctx context.Context, o Object, body io.Reader, over string, chunk int) error {
	to, err := s.over(o.Key, over)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what was not closed well is given up
	w := to.NewWriter(ctx)
	w.ChunkSize, w.ContentType, w.Metadata = chunk, o.ContentType, o.Metadata
	if _, err = io.Copy(w, body); err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("put %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// Edit implements Site, with a PATCH: keys that are not named stay, which the workload never wants otherwise.
func (s *gcsSite) Edit(ctx context.Context, o Object) error {
	to, err := s.over(o.Key, o.Tag)
	if err == nil {
		_, err = to.Update(ctx, storage.ObjectAttrsToUpdate{ContentType: o.ContentType, Metadata: o.Metadata})
	}
	if err != nil {
		return fmt.Errorf("edit metadata of %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// Remove implements Site.
func (s *gcsSite) Remove(ctx context.Context, key string) error {
	if err := s.bucket.Object(key).Delete(ctx); err != nil {
		return fmt.Errorf("delete %s at %s: %w", key, s.Name, err)
	}
	return nil
}

func objectOf(a *storage.ObjectAttrs) Object {
	return Object{
		Key: a.Name, Tag: tagOf(a), MD5: hex.EncodeToString(a.MD5), Size: a.Size, ContentType: a.ContentType, Metadata: usersOwn(a.Metadata),
	}
}

// Head implements Site.
func (s *gcsSite) Head(ctx context.Context, key string) (o Object, ok bool, err error) {
	a, err := s.bucket.Object(key).Attrs(ctx)
	switch {
	case errors.Is(err, storage.ErrObjectNotExist):
		return Object{}, false, nil
	case err != nil:
		return Object{}, false, fmt.Errorf("head %s at %s: %w", key, s.Name, err)
	}
	return objectOf(a), true, nil
}

// Read implements Site: the object's metadata, and then exactly the bytes that they are of.
func (s *gcsSite) Read(ctx context.Context, key string) (Object, error) {
	a, err := s.bucket.Object(key).Attrs(ctx)
	if err != nil {
		return Object{}, fmt.Errorf("get %s at %s: %w", key, s.Name, err)
	}
	r, err := s.bucket.Object(key).Generation(a.Generation).ReadCompressed(true).NewReader(ctx)
	if err != nil {
		return Object{}, fmt.Errorf("get %s at %s: %w", key, s.Name, err)
	}
	defer func() { _ = r.Close() }()
	o := objectOf(a)
	if err := o.digest(r); err != nil {
		return Object{}, fmt.Errorf("read %s at %s: %w", key, s.Name, err)
	}
	return o, nil
}

// List implements Site.
func (s *gcsSite) List(ctx context.Context) (map[string]Object, error) {
	all := map[string]Object{}
	for it := s.bucket.Objects(ctx, nil); ; {
		a, err := it.Next()
		switch {
		case errors.Is(err, iterator.Done):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("list %s: %w", s.Name, err)
		case !reserved(a.Name):
			all[a.Name] = Object{Key: a.Name, Tag: tagOf(a), Size: a.Size}
		}
	}
}
