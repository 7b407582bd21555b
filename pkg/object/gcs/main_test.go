package gcs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs/gcsdoc"
)

// fake is the endpoint of fake-gcs-server, which hack/test.sh starts.
func fake(t *testing.T) string {
	t.Helper()
	v := os.Getenv("BUCKETMESH_TEST_GCS")
	if v == "" {
		t.Fatal("BUCKETMESH_TEST_GCS is not set: this test needs a real server; run hack/test.sh, which starts it")
	}
	return v
}

// makeBucket makes an empty bucket with a random name at an emulator.
func makeBucket(t *testing.T, endpoint string, versioned bool) string {
	t.Helper()
	name := "object-" + strings.ToLower(rand.Text()[:16])
	body := `{"name":"` + name + `","versioning":{"enabled":` + strconv.FormatBool(versioned) + `}}`
	call(t, http.MethodPost, endpoint+"/storage/v1/b?project=test", body)
	return name
}

// call is a request beside the driver.
func call(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		t.Fatalf("%s %s answers %d, %s, %v", method, url, resp.StatusCode, answer, err)
	}
	return string(answer)
}

// documented is the server that follows the documented API.
type documented struct {
	*gcsdoc.Server
	url string
}

func document(t *testing.T, lies gcsdoc.Lies) documented {
	t.Helper()
	s := gcsdoc.New(lies)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return documented{s, srv.URL}
}

func (d documented) bucket(versioned bool) string {
	name := "object-" + strings.ToLower(rand.Text()[:16])
	d.Create(name, versioned)
	return name
}

// native is what Google promises.
func native(versioned bool) driver.Capabilities {
	return driver.Capabilities{
		Level: driver.C3, Versioned: versioned, PutMatch: driver.GuardNative, PutNotExist: driver.GuardNative,
		CompleteGuard: driver.GuardNative, DeleteGuard: driver.GuardNative, ReadMatch: driver.GuardNative,
		MaxPut: 5 << 40, MinPart: 1, MaxParts: 10_000, MaxKey: 1024,
	}
}

// open is a driver on a bucket, with changes to its configuration.
func open(t *testing.T, endpoint, bucket string, change ...func(*gcs.Config)) *gcs.Bucket {
	t.Helper()
	cfg := gcs.Config{Bucket: bucket, Endpoint: endpoint}
	for _, c := range change {
		c(&cfg)
	}
	b, err := gcs.Open(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatalf("open bucket: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// keeps is a driver that believes in all conditions.
func keeps(c *gcs.Config) {
	caps := native(false)
	c.Capabilities = &caps
}

func put(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.Put(ctx, "k", strings.NewReader("x"), &driver.PutOptions{Size: 1, If: cond})
	return err
}

func remove(ctx context.Context, b driver.Bucket, cond driver.Precondition) error {
	_, err := b.Delete(ctx, "k", &driver.DeleteOptions{If: cond})
	return err
}

func read(ctx context.Context, b driver.Bucket, _ driver.Precondition) error {
	r, _, err := b.Open(ctx, "k", nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func stat(ctx context.Context, b driver.Bucket, _ driver.Precondition) error {
	_, err := b.Stat(ctx, "k", "")
	return err
}

func mustPut(t *testing.T, b driver.Bucket, key, content string, opts driver.PutOptions) *driver.Attrs {
	t.Helper()
	opts.Size = int64(len(content))
	a, err := b.Put(t.Context(), key, bytes.NewReader([]byte(content)), &opts)
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return a
}

func mustRead(t *testing.T, b driver.Bucket, key string, opts *driver.ReadOptions) (string, *driver.Attrs) {
	t.Helper()
	r, a, err := b.Open(t.Context(), key, opts)
	if err != nil {
		t.Fatalf("open %q: %v", key, err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(data), a
}
