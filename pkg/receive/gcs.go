package receive

import (
	"net/http"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// Push says which of Google's senders (push subscriptions of Pub/Sub, Eventarc) may send, each with a bearer token.
type Push struct {
	Audience string   // of the tokens, as the subscriptions are configured
	Accounts []string // e-mail addresses of the service accounts that may send
	KeysURL  string   // of the JSON Web Key Set that tokens are verified with; "" is Google's
}

// PushOf reads it from the environment.
func PushOf(get env.Getenv) Push {
	return Push{Audience: get(env.PushAudience), Accounts: env.List(get(env.PushAccounts)), KeysURL: get(env.PushKeys)}
}

func newGCS(c Config) (string, http.Handler, error) {
	if err := c.nobody(gcs.Provider, c.Push.Audience != "" || len(c.Push.Accounts) > 0, env.PushAudience, env.PushAccounts); err != nil {
		return "", nil, err
	}
	h := gcs.HandlerConfig{
		Sink: sink{c}, DeadLetters: c.DeadLetters, Now: time.Now, Logger: c.Logger, Meter: c.meter("gcs"),
	}
	for _, r := range c.pushed(gcs.Provider) {
		st := gcs.StoreOf(r)
		st.Auth = gcs.Auth{Accounts: c.Push.Accounts, Tokens: c.Tokens, Open: c.Open}
		h.Stores = append(h.Stores, st)
	}
	var err error
	if h.Verifier, err = c.Push.verifier(); err != nil {
		return "", nil, err
	}
	handler, err := gcs.NewHandler(h)
	return gcs.PathPrefix, handler, err
}

// verifier is nil if nobody shows tokens. Errors: Invalid.
func (p Push) verifier() (*oidc.Verifier, error) {
	switch {
	case p.Audience == "" && len(p.Accounts) == 0:
		return nil, nil //nolint:nilnil // none is needed
	case p.Audience == "":
		return nil, errkind.New(errkind.Invalid, "push accounts without an audience: set the one that the push subscriptions have, $%s", env.PushAudience)
	case len(p.Accounts) == 0:
		return nil, errkind.New(errkind.Invalid, "push audience without accounts: everybody at Google could send; "+
			"set the service accounts of the push subscriptions, $%s", env.PushAccounts)
	}
	keys := p.KeysURL
	if keys == "" {
		keys = oidc.GoogleKeysURL
	}
	return oidc.New(oidc.Config{Issuers: oidc.GoogleIssuers(), Audiences: []string{p.Audience}, KeysURL: keys}) //nolint:wrapcheck // says what is wrong
}
