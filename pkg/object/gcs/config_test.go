package gcs_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs/gcsdoc"
)

// TestConfigIsChecked: what can never work is said at once.
func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  gcs.Config
		want errkind.Kind
	}{
		"no bucket":           {gcs.Config{Endpoint: "http://127.0.0.1:1"}, errkind.Invalid},
		"a path":              {gcs.Config{Bucket: "a/b", Endpoint: "http://127.0.0.1:1"}, errkind.Invalid},
		"no URL":              {gcs.Config{Bucket: "b", Endpoint: "127.0.0.1:1"}, errkind.Invalid},
		"an endpoint's path":  {gcs.Config{Bucket: "b", Endpoint: "http://127.0.0.1:1/storage/v1"}, errkind.Invalid},
		"no credentials file": {gcs.Config{Bucket: "b", CredentialsFile: filepath.Join(t.TempDir(), "none.json")}, errkind.PermissionDenied},
	} {
		if _, err := gcs.Open(t.Context(), c.cfg); !errkind.Is(err, c.want) {
			t.Errorf("%s: %v (kind %s), want %s", name, err, errkind.Of(err), c.want)
		}
	}
}

// TestGoogleIsPromisedToKeepConditions: without an emulator nothing has to be probed first. (No request is sent.)
func TestGoogleIsPromisedToKeepConditions(t *testing.T) {
	b := open(t, "", "bucket", func(c *gcs.Config) { c.CredentialsFile = serviceAccount(t, "http://127.0.0.1:1/token") })
	if got := b.Capabilities(); got != native(false) {
		t.Errorf("capabilities %+v", got)
	}
	if store, bucket := b.Location(); store != "https://storage.googleapis.com" || bucket != "bucket" {
		t.Errorf("location %q, %q", store, bucket)
	}
}

// TestCredentialsFilesAreNotToldOf: a broken file is named, and nothing of what is in it.
func TestCredentialsFilesAreNotToldOf(t *testing.T) {
	for name, content := range map[string]string{
		"not JSON": `secret-word`, "a user's": `{"type":"authorized_user","refresh_token":"secret-word"}`, "no type": `{"private_key":"secret-word"}`,
		"a broken key":              `{"type":"service_account","client_email":"a@b","private_key":"secret-word","token_uri":"http://127.0.0.1:1"}`,
		"a broken external account": `{"type":"external_account","audience":"secret-word"}`,
	} {
		file := filepath.Join(t.TempDir(), "credentials.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := gcs.Open(t.Context(), gcs.Config{Bucket: "b", Endpoint: "http://127.0.0.1:1", CredentialsFile: file})
		if err == nil { // the library looks at some of them only when a token is needed
			err = put(t.Context(), b, driver.Precondition{})
		}
		if err == nil || strings.Contains(err.Error(), "secret-word") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// serviceAccount is a service account's file with a key of its own.
func serviceAccount(t *testing.T, tokenURI string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "bucketmesh@project.example", "private_key_id": "1", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestServiceAccount: the token of the file's account goes with each request; fetching it is no request to the bucket. Who is
// refused a token is unauthenticated.
func TestServiceAccount(t *testing.T) {
	var tokens, requests atomic.Int32
	var refuse atomic.Bool
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens.Add(1)
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), "assertion=") {
			t.Errorf("asked for a token with %q", body)
		}
		w.Header().Set("Content-Type", "application/json")
		if refuse.Load() {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":3600,"error":"invalid_grant"}`)
	}))
	t.Cleanup(issuer.Close)
	s := document(t, gcsdoc.Lies{})
	s.Instead(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer the-token" {
			t.Errorf("a request without the token: %q", r.Header.Get("Authorization"))
		}
		return false
	})
	bucket := s.bucket(false)
	file := serviceAccount(t, issuer.URL)
	b := open(t, s.url, bucket, func(c *gcs.Config) {
		c.CredentialsFile, c.OnRequest = file, func(string) { requests.Add(1) }
	})
	for range 2 {
		if err := put(t.Context(), b, driver.Precondition{}); err != nil {
			t.Fatalf("put: %v", err)
		}
	}
	if err := read(t.Context(), b, driver.Precondition{}); err != nil {
		t.Errorf("read: %v", err)
	}
	if tokens.Load() != 1 || requests.Load() != 4 {
		t.Errorf("%d tokens, %d requests; want 1 and 4", tokens.Load(), requests.Load())
	}
	refuse.Store(true)
	b = open(t, s.url, bucket, func(c *gcs.Config) { c.CredentialsFile = file })
	if err := put(t.Context(), b, driver.Precondition{}); !errkind.Is(err, errkind.Unauthenticated) {
		t.Errorf("without a token: %v (kind %s), want unauthenticated", err, errkind.Of(err))
	}
}
