package azure_test

import (
	"maps"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
)

const (
	tenant   = "72f988bf-0000-4000-8000-2d7cd011db47"
	audience = "api://bucketmesh-webhook"
)

var now = time.Date(2026, 11, 20, 18, 0, 0, 0, time.UTC) // as oidctest has it

func verifier(t testing.TB, entra *oidctest.Issuer) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(oidc.Config{
		Issuers: oidc.EntraIssuers(tenant), Audiences: []string{audience}, KeysURL: entra.URL, Now: entra.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claims of a token as Event Grid shows it, of version 1, but for some; nil takes one away.
func claims(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://sts.windows.net/" + tenant + "/", "aud": audience, "appid": azure.EventGridApp, "tid": tenant,
		"iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func bearer(t testing.TB, entra *oidctest.Issuer, change map[string]any) string {
	t.Helper()
	return entra.Sign(t, oidctest.KeyID, claims(change))
}
