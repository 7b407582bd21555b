package worker_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// TestAzureOpener: a replica's configuration and its key reach the driver, and requests are counted.
func TestAzureOpener(t *testing.T) {
	var path, told string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		w.Header().Set("X-Ms-Error-Code", "BlobNotFound")
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(srv.Close)
	r := config.Replica{Provider: "azblob", Account: "account", Bucket: "container", Endpoint: srv.URL}
	b, err := worker.Azure(t.Context(), r, worker.Access{Credentials: []string{"a2V5"}, OnRequest: func(op string) { told += op }})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if _, err := b.Stat(t.Context(), "k", ""); !errkind.Is(err, errkind.NotFound) || path != "/account/container/k" || told != "HeadObject" {
		t.Errorf("stat: %v, asked for %s, told %q", err, path, told)
	}
	if err := b.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := worker.Azure(t.Context(), r, worker.Access{}); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("an emulator without a key: %v", err)
	}
}
