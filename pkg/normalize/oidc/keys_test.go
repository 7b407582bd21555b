package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
)

func TestTrapRotatedKeysWorkWithoutARestart(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	old := i.with(t, nil)
	if _, err := v.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	i.rotate(t, "two")
	i.advance(oidc.DefaultRefreshEvery)
	if _, err := v.Verify(t.Context(), i.sign(t, "two", i.claims())); err != nil {
		t.Error("the new key:", err)
	}
	_, err := v.Verify(t.Context(), old)
	refused(t, "the old key, withdrawn", err, errkind.Unauthenticated, oidc.UnknownKey)
	if i.fetches() != 2 {
		t.Errorf("the keys were fetched %d times", i.fetches())
	}
}

func TestTrapFloodOfUnknownKeysFetchesOncePerInterval(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				_, err := v.Verify(t.Context(), sign(t, jose.RS256, stranger, fmt.Sprint(round, n), i.claims()))
				refused(t, "unknown key", err, errkind.Unauthenticated, oidc.UnknownKey)
			})
		}
		wg.Wait()
		if i.fetches() != round+1 {
			t.Fatalf("round %d: the keys were fetched %d times", round, i.fetches())
		}
		if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
			t.Fatal("a good token meanwhile:", err)
		}
		i.advance(oidc.DefaultRefreshEvery)
	}
}

func TestTrapKeyServerDownIsUnavailableAndKeysAtHandKeepWorking(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	i.answerWith(down)
	for range 3 { // the failure is remembered
		_, err := v.Verify(t.Context(), i.with(t, nil))
		refused(t, "down", err, errkind.Unavailable, oidc.KeysDown)
	}
	if i.fetches() != 1 {
		t.Errorf("the keys were fetched %d times", i.fetches())
	}
	i.answerWith(nil)
	i.advance(oidc.DefaultRefreshEvery)
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Fatal("back:", err)
	}

	i.answerWith(down)
	i.advance(oidc.DefaultKeysTrusted - time.Minute)
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Error("down again, with keys at hand:", err)
	}
	_, err := v.Verify(t.Context(), sign(t, jose.RS256, i.private["one"], "two", i.claims()))
	refused(t, "down, unknown key", err, errkind.Unavailable, oidc.KeysDown)
	i.advance(2 * time.Minute)
	_, err = v.Verify(t.Context(), i.with(t, nil))
	refused(t, "down for longer than keys are trusted", err, errkind.Unavailable, oidc.KeysDown)
	i.answerWith(nil)
	i.advance(oidc.DefaultRefreshEvery)
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Error("back:", err)
	}
}

func TestOldKeysAreFetchedAgainSoThatWithdrawnOnesStopWorking(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	stolen := i.private["one"]
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Fatal(err)
	}
	i.rotate(t, "two")
	i.advance(oidc.DefaultKeysFresh + time.Second)
	_, err := v.Verify(t.Context(), sign(t, jose.RS256, stolen, "one", i.claims()))
	refused(t, "withdrawn", err, errkind.Unauthenticated, oidc.UnknownKey)
}

func TestAnswersThatAreNoKeys(t *testing.T) {
	elsewhere := newIssuer(t)
	for name, answer := range map[string]http.HandlerFunc{
		"500": down,
		"404": http.NotFound,
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.server.URL, http.StatusFound)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[],"x":"`+strings.Repeat("x", 1<<20)+`"}`)
		},
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"keys"`)
		},
		"hung up on": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a weak key": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[{"kty":"RSA","kid":"one","n":"AQAB","e":"AQAB"}]}`)
		},
		"null for it": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `null`) },
	} {
		i := newIssuer(t)
		i.answerWith(answer)
		_, err := i.verifier(t).Verify(t.Context(), i.with(t, nil))
		refused(t, name, err, errkind.Unavailable, oidc.KeysDown)
	}
	if elsewhere.fetches() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestRedirectsAreNotFollowedWhateverTheClientDoes(t *testing.T) {
	i, elsewhere := newIssuer(t), newIssuer(t)
	i.answerWith(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.server.URL, http.StatusFound)
	})
	_, err := i.verifier(t, func(c *oidc.Config) { c.Client = &http.Client{} }).Verify(t.Context(), i.with(t, nil))
	if refused(t, "redirect", err, errkind.Unavailable, oidc.KeysDown); elsewhere.fetches() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestKeysOfOtherKindsLockNobodyOut(t *testing.T) {
	i := newIssuer(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encrypts := &i.private["one"].PublicKey
	i.public = []any{
		jose.JSONWebKey{Key: &curve.PublicKey, KeyID: "curve", Algorithm: "ES256", Use: "sig"},
		map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "kid": "tomorrow"}, "what?", nil,
		jose.JSONWebKey{Key: encrypts, KeyID: "enc", Use: "enc"}, jose.JSONWebKey{Key: encrypts, KeyID: "ps", Algorithm: "PS256"},
		jose.JSONWebKey{Key: encrypts},
	}
	v := i.verifier(t)
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"curve", "tomorrow", "enc", "ps", ""} {
		_, err := v.Verify(t.Context(), sign(t, jose.RS256, i.private["one"], id, i.claims()))
		refused(t, id, err, errkind.Unauthenticated, oidc.UnknownKey)
	}
}

func TestKeyServerThatHangsIsGivenUpAfterTheTimeout(t *testing.T) {
	i := newIssuer(t)
	release := make(chan struct{})
	i.answerWith(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	_, err := i.verifier(t, func(c *oidc.Config) { c.Timeout = 20 * time.Millisecond }).Verify(t.Context(), i.with(t, nil))
	refused(t, "hangs", err, errkind.Unavailable, oidc.KeysDown)
}

func TestSendersWhoLeaveDoNotKeepTheKeysFromBeingFetched(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	gone, leave := context.WithCancel(t.Context())
	i.answerWith(func(w http.ResponseWriter, r *http.Request) {
		leave() // while the fetch is on its way
		i.answerWith(nil)
		i.ServeHTTP(w, r)
	})
	if _, err := v.Verify(gone, i.with(t, nil)); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Error(err)
	}
	if i.fetches() != 2 { // one, counted by both of its handlers
		t.Errorf("the keys were fetched %d times", i.fetches()-1)
	}
}

func TestWaitingForAnotherFetchEndsWithTheSender(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	started, release := make(chan struct{}), make(chan struct{})
	i.answerWith(func(w http.ResponseWriter, r *http.Request) {
		i.answerWith(nil)
		close(started)
		<-release
		i.ServeHTTP(w, r)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
			t.Error(err)
		}
	})
	<-started
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err := v.Verify(gone, i.with(t, nil))
	refused(t, "gone", err, errkind.Unavailable, oidc.KeysDown)
	close(release)
	wg.Wait()
}

func TestKnownKeysDoNotWaitForAFetch(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t)
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Fatal(err)
	}
	i.advance(oidc.DefaultKeysFresh + time.Second)
	started, release := make(chan struct{}), make(chan struct{})
	i.answerWith(func(w http.ResponseWriter, r *http.Request) { close(started); <-release; down(w, r) })
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
			t.Error("who fetched:", err)
		}
	})
	<-started
	if _, err := v.Verify(t.Context(), i.with(t, nil)); err != nil {
		t.Error("who did not:", err)
	}
	close(release)
	wg.Wait()
}

func FuzzVerify(f *testing.F) {
	i := newIssuer(f)
	v := i.verifier(f)
	good := i.with(f, nil)
	f.Add(good)
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	f.Add(strings.Replace(good, "e", "E", 1))
	f.Fuzz(func(t *testing.T, header string) {
		claims, err := v.Verify(t.Context(), header)
		if err == nil && claims.Email != account {
			t.Fatalf("%q got in", header)
		}
		if err != nil && !errkind.Is(err, errkind.Unauthenticated) {
			t.Fatal(err)
		}
	})
}
