package receive

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// Entra says which applications of a tenant of Microsoft Entra ID may send Azure's notifications, each with a bearer token.
type Entra struct {
	Tenant   string   // id of the tenant
	Audience string   // of the tokens: the application id (or its URI) that the event subscriptions are configured with
	Apps     []string // ids of the applications that may send; none is Event Grid itself, azure.EventGridApp
	KeysURL  string   // of the JSON Web Key Set that tokens are verified with; "" is the tenant's
}

// EntraOf reads it from the environment.
func EntraOf(get env.Getenv) Entra {
	return Entra{
		Tenant: get(env.EntraTenant), Audience: get(env.EntraAudience), Apps: env.List(get(env.EntraApps)), KeysURL: get(env.EntraKeys),
	}
}

// Set reports whether any of it is set, were it by mistake: then nobody is let in without a proof.
func (e Entra) Set() bool { return e.Tenant != "" || e.Audience != "" || len(e.Apps) > 0 }

// entraMaxAge: Entra gives tokens of an hour to 28 hours (those of a day begin five minutes before they were asked for), and
// who has one uses it until it expires. A good token must never be too old: what Event Grid is told with a 401 is lost.
const entraMaxAge = 28 * time.Hour

var tenantID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func newAzure(c Config) (string, http.Handler, error) {
	if err := c.nobody("azblob", c.Entra.Set(), env.EntraTenant, env.EntraAudience); err != nil {
		return "", nil, err
	}
	h := azure.HandlerConfig{
		Sink: sink{c}, DeadLetters: c.DeadLetters, Origins: c.Origins, Now: time.Now, Logger: c.Logger, Meter: c.meter("azure"),
	}
	var err error
	if h.Verifier, err = c.Entra.verifier(); err != nil {
		return "", nil, err
	}
	var apps []string
	if h.Verifier != nil {
		if apps = c.Entra.Apps; len(apps) == 0 {
			apps = []string{azure.EventGridApp}
		}
	}
	for _, r := range c.pushed("azblob") {
		st := azure.StoreOf(r)
		st.Auth = azure.Auth{Tokens: c.Tokens, Apps: apps, Open: c.Open}
		h.Stores = append(h.Stores, st)
	}
	handler, err := azure.NewHandler(h)
	return azure.PathPrefix, handler, err
}

// verifier is nil if nobody shows tokens. Errors: Invalid.
func (e Entra) verifier() (*oidc.Verifier, error) {
	tenant := strings.ToLower(e.Tenant)
	switch {
	case !e.Set():
		return nil, nil //nolint:nilnil // none is needed
	case e.Tenant == "":
		return nil, errkind.New(errkind.Invalid, "the Entra tenant is not set: set $%s to the id of the tenant", env.EntraTenant)
	case !tenantID.MatchString(tenant): // the issuer in tokens has the id
		return nil, errkind.New(errkind.Invalid, "the Entra tenant %q is not the id of a tenant: set $%s to its id, not its domain name", e.Tenant, env.EntraTenant)
	case e.Audience == "":
		return nil, errkind.New(errkind.Invalid, "an Entra tenant without an audience: set $%s to the application id "+
			"that the event subscriptions have", env.EntraAudience)
	}
	keys := e.KeysURL
	if keys == "" {
		keys = oidc.EntraKeysURL(tenant)
	}
	return oidc.New(oidc.Config{ //nolint:wrapcheck // says what is wrong
		Issuers: oidc.EntraIssuers(tenant), Audiences: []string{e.Audience}, KeysURL: keys, MaxAge: entraMaxAge,
	})
}
