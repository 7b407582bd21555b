package azblob_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/bucketmesh/bucketmesh/pkg/object/azblob"
)

// server is a blob service that speaks Azure's protocol: Azurite, which hack/test.sh starts, or a local one of a test.
type server struct {
	endpoint, account, key string
}

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: this test needs real servers; run hack/test.sh, which starts them", name)
	}
	return v
}

func azurite(t *testing.T) server {
	t.Helper()
	return server{env(t, "BUCKETMESH_TEST_AZURE_BLOB"), env(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"), env(t, "BUCKETMESH_TEST_AZURE_KEY")}
}

// sdk is a client beside the driver: for what a driver doesn't do (making containers) and for looking behind its back.
func (s server) sdk(t *testing.T, name string) *container.Client {
	t.Helper()
	key, err := container.NewSharedKeyCredential(s.account, s.key)
	if err != nil {
		t.Fatalf("read key: %v", err)
	}
	c, err := container.NewClientWithSharedKeyCredential(s.endpoint+"/"+s.account+"/"+name, key, nil)
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	return c
}

// container makes an empty container with a random name.
func (s server) container(t *testing.T) string {
	t.Helper()
	name := "object-" + strings.ToLower(rand.Text()[:16])
	if _, err := s.sdk(t, name).Create(t.Context(), nil); err != nil {
		t.Fatalf("create container: %v", err)
	}
	return name
}

// open is a driver on a container, with changes to its configuration.
func (s server) open(t *testing.T, name string, change ...func(*azblob.Config)) *azblob.Bucket {
	t.Helper()
	cfg := azblob.Config{Account: s.account, Container: name, Endpoint: s.endpoint, AccountKey: s.key}
	for _, c := range change {
		c(&cfg)
	}
	b, err := azblob.Open(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatalf("open container: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
