package conformance_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
)

// gcsUser is a user of fake-gcs-server behind its gate.
type gcsUser struct {
	endpoint string
	client   *storage.Client
}

func newGCSUser(t *testing.T) *gcsUser {
	t.Helper()
	gate, err := emulator.NewGCS(env(t, "BUCKETMESH_TEST_GCS"))
	if err != nil {
		t.Fatal(err)
	}
	endpoint, stop, err := emulator.Serve(t.Context(), "127.0.0.1:0", gate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	c, err := storage.NewClient(t.Context(), option.WithEndpoint(endpoint+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &gcsUser{endpoint, c}
}

func (u *gcsUser) url(bucket string) string {
	return fmt.Sprintf("gs://%s?endpoint=%s", bucket, u.endpoint)
}

func (u *gcsUser) create(t *testing.T, bucket string) {
	t.Helper()
	if err := u.client.Bucket(bucket).Create(t.Context(), "conformance", nil); err != nil {
		t.Fatal(err)
	}
}

func (u *gcsUser) write(ctx context.Context, bucket, key string, o thing) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := u.client.Bucket(bucket).Object(key).NewWriter(ctx)
	w.ContentType, w.ContentEncoding, w.ContentLanguage = o.contentType, o.encoding, o.language
	w.ContentDisposition, w.CacheControl, w.Metadata, w.ForceEmptyContentType = o.disposition, o.cache, o.meta, true
	w.ChunkSize = 0
	if o.customTime != "" {
		at, err := time.Parse(time.RFC3339Nano, o.customTime)
		if err != nil {
			return err
		}
		w.CustomTime = at
	}
	switch o.as {
	case "":
	case "multipart":
		w.ChunkSize = 5 << 20
	case "storage class":
		w.StorageClass = "NEARLINE"
	case "hold":
		w.TemporaryHold = true
	case "acl":
		w.PredefinedACL = "publicRead"
	default:
		return unknownWay(o.as)
	}
	_, err := io.Copy(w, strings.NewReader(o.body))
	return errors.Join(err, w.Close())
}

func (u *gcsUser) read(t *testing.T, bucket, key string) thing {
	t.Helper()
	a, err := u.client.Bucket(bucket).Object(key).Attrs(t.Context())
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	r, err := u.client.Bucket(bucket).Object(key).ReadCompressed(true).NewReader(t.Context())
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	body, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	o := thing{
		body: string(body), contentType: a.ContentType, encoding: a.ContentEncoding, language: a.ContentLanguage,
		disposition: a.ContentDisposition, cache: a.CacheControl, meta: a.Metadata, md5: hex.EncodeToString(a.MD5),
	}
	if !a.CustomTime.IsZero() {
		o.customTime = a.CustomTime.UTC().Format(time.RFC3339Nano)
	}
	return o
}

func (u *gcsUser) list(t *testing.T, bucket string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for it := u.client.Bucket(bucket).Objects(t.Context(), nil); ; {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[a.Name] = fmt.Sprint(a.Generation, ".", a.Metageneration)
	}
}

func (u *gcsUser) remove(t *testing.T, bucket, key string) {
	t.Helper()
	if err := u.client.Bucket(bucket).Object(key).Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
}
