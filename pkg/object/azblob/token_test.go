package azblob

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// identity stands in for the default chain, which asks the network.
type identity struct{ err error }

func (i identity) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 || o.Scopes[0] != scope {
		return azcore.AccessToken{}, errors.New("a token for something else")
	}
	return azcore.AccessToken{Token: "secret-token", ExpiresOn: time.Now().Add(time.Hour)}, i.err
}

// TestTokens: requests, and the reading of a copy's source, carry the token of our identity. No error tells it.
func TestTokens(t *testing.T) {
	var got http.Header
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("X-Ms-Error-Code", "AuthorizationPermissionMismatch")
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(srv.Close)
	caps := driver.Capabilities{PutMatch: driver.GuardNative, PutNotExist: driver.GuardNative}
	cfg := Config{
		Account: "account", Container: "container", Endpoint: srv.URL, Transport: srv.Client().Transport, Capabilities: &caps, credential: identity{},
	}
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	store, bucket := b.Location()
	_, stat := b.Stat(t.Context(), "k", "")
	sent := got.Get("Authorization")
	_, copied := b.Copy(t.Context(), driver.Source{Store: store, Bucket: bucket, Key: "from", Tag: "t"}, "to", &driver.PutOptions{
		Properties: driver.Properties{Metadata: map[string]string{"k": "v"}},
	})
	if sent != "Bearer secret-token" || got.Get("X-Ms-Copy-Source-Authorization") != "Bearer secret-token" ||
		got.Get("X-Ms-Copy-Source") != store+"/container/from" || got.Get("X-Ms-Source-If-Match") != `"t"` {
		t.Errorf("sent %q, and %v", sent, got)
	}
	for _, err := range []error{stat, copied} {
		if !errkind.Is(err, errkind.PermissionDenied) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v (kind %s)", err, errkind.Of(err))
		}
	}
	cfg.credential = identity{errors.New("no identity here\nand more about it")}
	if _, err := Open(t.Context(), cfg); !errkind.Is(err, errkind.PermissionDenied) || strings.Contains(err.Error(), "\n") {
		t.Errorf("open without a token: %v (kind %s)", err, errkind.Of(err))
	}
}
