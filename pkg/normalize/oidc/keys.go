package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
)

const (
	maxKeySet  = 512 << 10 // bytes; Entra's have 20 KB
	minKeyBits = 2048
)

// keyCache holds the keys of an issuer.
type keyCache struct {
	c        Config
	client   *http.Client
	fetching chan struct{} // held by who fetches

	mu      sync.Mutex
	keys    map[string]*rsa.PublicKey // by id
	fetched time.Time                 // when keys were fetched; zero: never
	tried   time.Time                 // when fetching them was tried last
	err     error                     // of that
}

func newKeyCache(c Config) *keyCache {
	client := &http.Client{}
	if c.Client != nil {
		*client = *c.Client
	}
	// Keys from elsewhere than where they were configured to be are no keys: a redirect is an answer that is not 200.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &keyCache{c: c, client: client, fetching: make(chan struct{}, 1)}
}

// key is the key with an id. Errors: Unauthenticated if the issuer has no such key, Unavailable if that can't be found
// out now.
func (k *keyCache) key(ctx context.Context, id string) (*rsa.PublicKey, error) {
	known, due, err := k.look(id)
	if !due {
		return known, err
	}
	if known != nil { // good enough for now: only one caller need wait for news
		select {
		case k.fetching <- struct{}{}:
		default:
			return known, nil
		}
	} else {
		select {
		case k.fetching <- struct{}{}:
		case <-ctx.Done():
			return nil, refuse.New(errkind.Unavailable, KeysDown, "wait for the keys of the issuer: %w", ctx.Err())
		}
	}
	defer func() { <-k.fetching }()
	if known, due, err = k.look(id); !due { // somebody fetched meanwhile
		return known, err
	}
	k.refresh(ctx)
	known, _, err = k.look(id)
	return known, err
}

// look finds a key among those at hand, and says whether it is time to fetch them: if they are old or the key is not
// among them, but not too often.
//
// A key that is not among keys of less than RefreshEvery ago does not exist. Issuers publish keys long before they use
// them.
func (k *keyCache) look(id string) (known *rsa.PublicKey, due bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.c.Now()
	trusted := !k.fetched.IsZero() && now.Sub(k.fetched) <= k.c.KeysTrusted
	if trusted {
		known = k.keys[id]
	}
	may := k.tried.IsZero() || now.Sub(k.tried) >= k.c.RefreshEvery
	stale := !trusted || now.Sub(k.fetched) > k.c.KeysFresh
	switch {
	case known != nil:
		return known, may && stale, nil
	case may:
		return nil, true, nil
	case k.err != nil:
		return nil, false, k.err
	}
	return nil, false, refuse.New(errkind.Unauthenticated, UnknownKey, "verify token: its key is not among those of its issuer")
}

// refresh fetches the keys. It does not end with the sender who caused it: else one who always leaves could keep the
// keys from ever being fetched.
func (k *keyCache) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.c.Timeout)
	defer cancel()
	keys, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = k.c.Now(), err
	if err == nil {
		k.keys, k.fetched = keys, k.tried
	}
}

func (k *keyCache) fetch(ctx context.Context) (map[string]*rsa.PublicKey, error) {
	failed := func(format string, args ...any) error {
		return refuse.New(errkind.Unavailable, KeysDown, "fetch keys of the issuer: "+format, args...)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.c.KeysURL, nil)
	if err != nil {
		return nil, failed("%w", err)
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, failed("%w", err)
	}
	defer func() { _ = res.Body.Close() }() // only read from: nothing to learn
	if res.StatusCode != http.StatusOK {
		return nil, failed("%s answers %d", req.URL.Host, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxKeySet+1))
	switch {
	case err != nil:
		return nil, failed("%w", err)
	case len(body) > maxKeySet:
		return nil, failed("%s answers more than %d bytes", req.URL.Host, maxKeySet)
	}
	keys := parseKeys(body)
	if len(keys) == 0 {
		return nil, failed("%s answers no RSA keys", req.URL.Host)
	}
	return keys, nil
}

// parseKeys reads the keys that can sign tokens with RS256. Others are passed over, each for itself: a new kind of key in
// the set must not lock everybody out.
func parseKeys(body []byte) map[string]*rsa.PublicKey {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(body, &set) != nil {
		return nil
	}
	keys := make(map[string]*rsa.PublicKey)
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || key.KeyID == "" {
			continue
		}
		public, ok := key.Key.(*rsa.PublicKey)
		signs := (key.Use == "" || key.Use == "sig") && (key.Algorithm == "" || key.Algorithm == string(algorithm))
		if ok && signs && public.N.BitLen() >= minKeyBits {
			keys[key.KeyID] = public
		}
	}
	return keys
}
