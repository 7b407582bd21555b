package services_test

import (
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
)

// site is a bucket as its users see it; cluster.Site is one at MinIO.
type site interface {
	Put(key, content string)
	Delete(key string)
	Contents() map[string]string
}

// serveGate serves a gate of package emulator until the test ends.
func serveGate(t *testing.T, gate http.Handler) (endpoint string) {
	t.Helper()
	endpoint, stop, err := emulator.Serve(t.Context(), "127.0.0.1:0", gate)
	must(t, err)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return endpoint
}

func bucketName() string { return "b-" + strings.ToLower(rand.Text()) }

// gcsSite is a bucket of Cloud Storage's emulator, behind its gate.
type gcsSite struct {
	t              *testing.T
	endpoint, name string
	bucket         *storage.BucketHandle
}

func newGCSSite(t *testing.T) *gcsSite {
	t.Helper()
	gate, err := emulator.NewGCS(variable(t, "BUCKETMESH_TEST_GCS"))
	must(t, err)
	s := &gcsSite{t: t, endpoint: serveGate(t, gate), name: bucketName()}
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(s.endpoint+"/storage/v1/"), option.WithoutAuthentication(), storage.WithJSONReads())
	must(t, err)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	s.bucket = client.Bucket(s.name)
	must(t, s.bucket.Create(t.Context(), "test", nil))
	return s
}

// Put writes a key.
func (s *gcsSite) Put(key, content string) {
	s.t.Helper()
	w := s.bucket.Object(key).NewWriter(s.t.Context())
	w.ContentType, w.Metadata = "text/plain", map[string]string{"color": "blue"}
	_, err := io.WriteString(w, content)
	must(s.t, errors.Join(err, w.Close()))
}

// Delete removes a key.
func (s *gcsSite) Delete(key string) {
	s.t.Helper()
	must(s.t, s.bucket.Object(key).Delete(s.t.Context()))
}

// Contents are all objects. Those that go while it reads are left out.
func (s *gcsSite) Contents() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for it := s.bucket.Objects(s.t.Context(), nil); ; {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return all
		}
		must(s.t, err)
		if strings.HasPrefix(a.Name, config.ReservedPrefix) {
			continue
		}
		r, err := s.bucket.Object(a.Name).NewReader(s.t.Context())
		if errors.Is(err, storage.ErrObjectNotExist) {
			continue
		}
		must(s.t, err)
		b, err := io.ReadAll(r)
		must(s.t, errors.Join(err, r.Close()))
		all[a.Name] = string(b)
	}
}

// azureSite is a container of Azurite, behind its gate.
type azureSite struct {
	t                       *testing.T
	endpoint, account, name string
	container               *container.Client
}

// newAzureSite makes a container; notify gets its events.
func newAzureSite(t *testing.T, notify func(emulator.Event)) *azureSite {
	t.Helper()
	account, key := variable(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"), variable(t, "BUCKETMESH_TEST_AZURE_KEY")
	gate, err := emulator.NewAzure(variable(t, "BUCKETMESH_TEST_AZURE_BLOB"), account, key, notify)
	must(t, err)
	s := &azureSite{t: t, endpoint: serveGate(t, gate), account: account, name: bucketName()}
	credential, err := container.NewSharedKeyCredential(account, key)
	must(t, err)
	s.container, err = container.NewClientWithSharedKeyCredential(s.endpoint+"/"+account+"/"+s.name, credential, nil)
	must(t, err)
	_, err = s.container.Create(t.Context(), nil)
	must(t, err)
	return s
}

// Put writes a key.
func (s *azureSite) Put(key, content string) {
	s.t.Helper()
	_, err := s.container.NewBlockBlobClient(key).Upload(s.t.Context(), streaming.NopCloser(strings.NewReader(content)), nil)
	must(s.t, err)
}

// Delete removes a key.
func (s *azureSite) Delete(key string) {
	s.t.Helper()
	_, err := s.container.NewBlobClient(key).Delete(s.t.Context(), nil)
	must(s.t, err)
}

// Contents are all blobs. Those that go while it reads are left out.
func (s *azureSite) Contents() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for pages := s.container.NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(s.t.Context())
		must(s.t, err)
		for _, item := range page.Segment.BlobItems {
			if strings.HasPrefix(*item.Name, config.ReservedPrefix) {
				continue
			}
			if content, ok := s.get(*item.Name); ok {
				all[*item.Name] = content
			}
		}
	}
	return all
}

func (s *azureSite) get(key string) (content string, ok bool) {
	s.t.Helper()
	r, err := s.container.NewBlobClient(key).DownloadStream(s.t.Context(), nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return "", false
	}
	must(s.t, err)
	b, err := io.ReadAll(r.Body)
	must(s.t, errors.Join(err, r.Body.Close()))
	return string(b), true
}
