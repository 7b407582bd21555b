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
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
)

func TestTrapRotatedKeysWorkWithoutARestart(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	old := i.With(t, nil)
	if _, err := v.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	i.Rotate(t, "two")
	i.Advance(oidc.DefaultRefreshEvery)
	if _, err := v.Verify(t.Context(), i.Sign(t, "two", i.Claims())); err != nil {
		t.Error("the new key:", err)
	}
	_, err := v.Verify(t.Context(), old)
	refused(t, "the old key, withdrawn", err, errkind.Unauthenticated, oidc.UnknownKey)
	if i.Fetches() != 2 {
		t.Errorf("the keys were fetched %d times", i.Fetches())
	}
}

func TestTrapFloodOfUnknownKeysFetchesOncePerInterval(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				_, err := v.Verify(t.Context(), oidctest.Sign(t, jose.RS256, stranger, fmt.Sprint(round, n), i.Claims()))
				refused(t, "unknown key", err, errkind.Unauthenticated, oidc.UnknownKey)
			})
		}
		wg.Wait()
		if i.Fetches() != round+1 {
			t.Fatalf("round %d: the keys were fetched %d times", round, i.Fetches())
		}
		if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
			t.Fatal("a good token meanwhile:", err)
		}
		i.Advance(oidc.DefaultRefreshEvery)
	}
}

func TestTrapKeyServerDownIsUnavailableAndKeysAtHandKeepWorking(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	i.AnswerWith(oidctest.Down)
	for range 3 { // the failure is remembered
		_, err := v.Verify(t.Context(), i.With(t, nil))
		refused(t, "down", err, errkind.Unavailable, oidc.KeysDown)
	}
	if i.Fetches() != 1 {
		t.Errorf("the keys were fetched %d times", i.Fetches())
	}
	i.AnswerWith(nil)
	i.Advance(oidc.DefaultRefreshEvery)
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Fatal("back:", err)
	}

	i.AnswerWith(oidctest.Down)
	i.Advance(oidc.DefaultKeysTrusted - time.Minute)
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Error("down again, with keys at hand:", err)
	}
	_, err := v.Verify(t.Context(), oidctest.Sign(t, jose.RS256, i.Key("one"), "two", i.Claims()))
	refused(t, "down, unknown key", err, errkind.Unavailable, oidc.KeysDown)
	i.Advance(2 * time.Minute)
	_, err = v.Verify(t.Context(), i.With(t, nil))
	refused(t, "down for longer than keys are trusted", err, errkind.Unavailable, oidc.KeysDown)
	i.AnswerWith(nil)
	i.Advance(oidc.DefaultRefreshEvery)
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Error("back:", err)
	}
}

func TestOldKeysAreFetchedAgainSoThatWithdrawnOnesStopWorking(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	stolen := i.Key("one")
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Fatal(err)
	}
	i.Rotate(t, "two")
	i.Advance(oidc.DefaultKeysFresh + time.Second)
	_, err := v.Verify(t.Context(), oidctest.Sign(t, jose.RS256, stolen, "one", i.Claims()))
	refused(t, "withdrawn", err, errkind.Unauthenticated, oidc.UnknownKey)
}

func TestAnswersThatAreNoKeys(t *testing.T) {
	elsewhere := oidctest.New(t)
	for name, answer := range map[string]http.HandlerFunc{
		"500": oidctest.Down,
		"404": http.NotFound,
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
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
		i := oidctest.New(t)
		i.AnswerWith(answer)
		_, err := verifier(t, i).Verify(t.Context(), i.With(t, nil))
		refused(t, name, err, errkind.Unavailable, oidc.KeysDown)
	}
	if elsewhere.Fetches() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestRedirectsAreNotFollowedWhateverTheClientDoes(t *testing.T) {
	i, elsewhere := oidctest.New(t), oidctest.New(t)
	i.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusFound)
	})
	_, err := verifier(t, i, func(c *oidc.Config) { c.Client = &http.Client{} }).Verify(t.Context(), i.With(t, nil))
	if refused(t, "redirect", err, errkind.Unavailable, oidc.KeysDown); elsewhere.Fetches() != 0 {
		t.Error("the redirect was followed")
	}
}

func TestKeysOfOtherKindsLockNobodyOut(t *testing.T) {
	i := oidctest.New(t)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encrypts := &i.Key("one").PublicKey
	i.Also(
		jose.JSONWebKey{Key: &curve.PublicKey, KeyID: "curve", Algorithm: "ES256", Use: "sig"},
		map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "kid": "tomorrow"}, "what?", nil,
		jose.JSONWebKey{Key: encrypts, KeyID: "enc", Use: "enc"}, jose.JSONWebKey{Key: encrypts, KeyID: "ps", Algorithm: "PS256"},
		jose.JSONWebKey{Key: encrypts},
	)
	v := verifier(t, i)
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"curve", "tomorrow", "enc", "ps", ""} {
		_, err := v.Verify(t.Context(), oidctest.Sign(t, jose.RS256, i.Key("one"), id, i.Claims()))
		refused(t, id, err, errkind.Unauthenticated, oidc.UnknownKey)
	}
}

func TestKeyServerThatHangsIsGivenUpAfterTheTimeout(t *testing.T) {
	i := oidctest.New(t)
	release := make(chan struct{})
	i.AnswerWith(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	_, err := verifier(t, i, func(c *oidc.Config) { c.Timeout = 20 * time.Millisecond }).Verify(t.Context(), i.With(t, nil))
	refused(t, "hangs", err, errkind.Unavailable, oidc.KeysDown)
}

func TestSendersWhoLeaveDoNotKeepTheKeysFromBeingFetched(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	gone, leave := context.WithCancel(t.Context())
	i.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
		leave() // while the fetch is on its way
		i.AnswerWith(nil)
		i.ServeHTTP(w, r)
	})
	if _, err := v.Verify(gone, i.With(t, nil)); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Error(err)
	}
	if i.Fetches() != 2 { // one, counted by both of its handlers
		t.Errorf("the keys were fetched %d times", i.Fetches()-1)
	}
}

func TestWaitingForAnotherFetchEndsWithTheSender(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	started, release := make(chan struct{}), make(chan struct{})
	i.AnswerWith(func(w http.ResponseWriter, r *http.Request) {
		i.AnswerWith(nil)
		close(started)
		<-release
		i.ServeHTTP(w, r)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
			t.Error(err)
		}
	})
	<-started
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err := v.Verify(gone, i.With(t, nil))
	refused(t, "gone", err, errkind.Unavailable, oidc.KeysDown)
	close(release)
	wg.Wait()
}

func TestKnownKeysDoNotWaitForAFetch(t *testing.T) {
	i := oidctest.New(t)
	v := verifier(t, i)
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Fatal(err)
	}
	i.Advance(oidc.DefaultKeysFresh + time.Second)
	started, release := make(chan struct{}), make(chan struct{})
	i.AnswerWith(func(w http.ResponseWriter, r *http.Request) { close(started); <-release; oidctest.Down(w, r) })
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
			t.Error("who fetched:", err)
		}
	})
	<-started
	if _, err := v.Verify(t.Context(), i.With(t, nil)); err != nil {
		t.Error("who did not:", err)
	}
	close(release)
	wg.Wait()
}

func FuzzVerify(f *testing.F) {
	i := oidctest.New(f)
	v := verifier(f, i)
	good := i.With(f, nil)
	f.Add(good)
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.")
	f.Add(strings.Replace(good, "e", "E", 1))
	f.Fuzz(func(t *testing.T, header string) {
		claims, err := v.Verify(t.Context(), header)
		if err == nil && claims.Email != oidctest.Account {
			t.Fatalf("%q got in", header)
		}
		if err != nil && !errkind.Is(err, errkind.Unauthenticated) {
			t.Fatal(err)
		}
	})
}
