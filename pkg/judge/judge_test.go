package judge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/judge"
)

const secret = "between-us"

var (
	now      = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	question = event.Conflict{
		Group: "media", Key: "k", ID: "c1", Heads: []string{"a.1", "b.1"}, Policy: "webhook", Deadline: now.Add(time.Minute),
		Versions: []event.ConflictVersion{{ID: "a.1", Replica: "a", Kind: "put", Size: "3"}, {ID: "b.1", Replica: "b", Kind: "delete"}},
	}
)

// hook is a webhook that answers as a test wants.
func hook(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body []byte)) config.ConflictRule {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer(w, r, body)
	}))
	t.Cleanup(s.Close)
	return config.ConflictRule{Policy: config.Webhook, URL: s.URL + "/decide?token=hush", Secret: "verdicts"}
}

func newJudge() *judge.Judge {
	return judge.New(judge.Config{
		Now: func() time.Time { return now }, Timeout: 2 * time.Second,
		LookupEnv: func(name string) (string, bool) { return secret, name == "BUCKETMESH_VERDICTS_VERDICT_SECRET" },
	})
}

func signed(w http.ResponseWriter, at time.Time, with, body string) {
	w.Header().Set(judge.SignatureHeader, judge.Sign(with, at, []byte(body)))
	fmt.Fprint(w, body)
}

func TestQuestionAndVerdict(t *testing.T) {
	rule := hook(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if err := judge.Verify(secret, now, r.Header.Get(judge.SignatureHeader), body); err != nil {
			t.Errorf("the question: %v", err)
		}
		var e struct {
			Type string
			Data event.Conflict
		}
		if err := json.Unmarshal(body, &e); err != nil || e.Type != event.ConflictPending || len(e.Data.Versions) != 2 || e.Data.ID != "c1" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, body, err)
		}
		signed(w, now.Add(-time.Minute), secret, `{"conflict":"c1","winner":"b.1","reason":"b is newer"}`)
	})
	winner, reason, err := newJudge().Ask(t.Context(), rule, question)
	if err != nil || winner != "b.1" || !strings.Contains(reason, "b is newer") {
		t.Errorf("%q, %q, %v", winner, reason, err)
	}
}

// PostgreSQL has no NUL in a text: such a reason would keep its verdict from ever being stored.
func TestReasonThatADatabaseCantHold(t *testing.T) {
	rule := hook(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		signed(w, now, secret, `{"conflict":"c1","winner":"b.1","reason":"b\u0000is\u001b[2Jnewer"}`)
	})
	if _, reason, err := newJudge().Ask(t.Context(), rule, question); err != nil || reason != "the webhook decided: b is [2Jnewer" {
		t.Errorf("%q, %v", reason, err)
	}
}

func TestNoVerdictYet(t *testing.T) {
	for _, status := range []int{http.StatusAccepted, http.StatusNoContent} {
		rule := hook(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(status) })
		if winner, _, err := newJudge().Ask(t.Context(), rule, question); winner != "" || err != nil {
			t.Errorf("%d: %q, %v", status, winner, err)
		}
	}
}

// What is no verdict decides nothing, and is told without the secret, the URL and the body.
func TestAnswersThatAreNoVerdicts(t *testing.T) {
	good := `{"conflict":"c1","winner":"b.1"}`
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   errkind.Kind
	}{
		"unsigned":        {func(w http.ResponseWriter) { fmt.Fprint(w, good) }, errkind.Unauthenticated},
		"another secret":  {func(w http.ResponseWriter) { signed(w, now, "guessed", good) }, errkind.Unauthenticated},
		"old":             {func(w http.ResponseWriter) { signed(w, now.Add(-6*time.Minute), secret, good) }, errkind.Unauthenticated},
		"from the future": {func(w http.ResponseWriter) { signed(w, now.Add(6*time.Minute), secret, good) }, errkind.Unauthenticated},
		"changed": {func(w http.ResponseWriter) {
			w.Header().Set(judge.SignatureHeader, judge.Sign(secret, now, []byte(good)))
			fmt.Fprint(w, good+" ")
		}, errkind.Unauthenticated},
		"another conflict": {func(w http.ResponseWriter) { signed(w, now, secret, `{"conflict":"c2","winner":"b.1"}`) }, errkind.Invalid},
		"no winner":        {func(w http.ResponseWriter) { signed(w, now, secret, `{"conflict":"c1"}`) }, errkind.Invalid},
		"no JSON":          {func(w http.ResponseWriter) { signed(w, now, secret, "b.1") }, errkind.Invalid},
		"too large":        {func(w http.ResponseWriter) { signed(w, now, secret, strings.Repeat("x", 70<<10)) }, errkind.Invalid},
		"404":              {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, errkind.Invalid},
		"a redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusFound)
		}, errkind.Invalid},
		"500":          {func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }, errkind.Unavailable},
		"429":          {func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }, errkind.Throttled},
		"the question": {nil, errkind.Unauthenticated}, // our own signature, sent back
	} {
		t.Run(name, func(t *testing.T) {
			rule := hook(t, func(w http.ResponseWriter, r *http.Request, _ []byte) {
				if c.answer == nil {
					w.Header().Set(judge.SignatureHeader, r.Header.Get(judge.SignatureHeader))
					fmt.Fprint(w, good)
					return
				}
				c.answer(w)
			})
			winner, _, err := newJudge().Ask(t.Context(), rule, question)
			if winner != "" || !errkind.Is(err, c.want) {
				t.Errorf("winner %q, %v (%v), want %v", winner, err, errkind.Of(err), c.want)
			}
			for _, hidden := range []string{secret, "hush", "b.1"} {
				if err != nil && strings.Contains(err.Error(), hidden) {
					t.Errorf("%v tells %s", err, hidden)
				}
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		rule := config.ConflictRule{Policy: config.Webhook, URL: "http://127.0.0.1:1/decide?token=hush", Secret: "verdicts"}
		if _, _, err := newJudge().Ask(t.Context(), rule, question); !errkind.Is(err, errkind.Unavailable) || strings.Contains(err.Error(), "hush") {
			t.Error(err)
		}
	})
	t.Run("no secret", func(t *testing.T) {
		rule := config.ConflictRule{Policy: config.Webhook, URL: "http://127.0.0.1:1/", Secret: "others"}
		if _, _, err := newJudge().Ask(t.Context(), rule, question); !errkind.Is(err, errkind.Unauthenticated) {
			t.Error(err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add("t=1772600767,v1=00", []byte("{}"))
	f.Add(judge.Sign(secret, now, []byte("{}")), []byte("{}"))
	f.Fuzz(func(t *testing.T, signature string, body []byte) {
		if judge.Verify(secret, now, signature, body) == nil && !strings.Contains(signature, judge.Sign(secret, now, body)[strings.Index(judge.Sign(secret, now, body), "v1="):]) &&
			!strings.Contains(signature, "v1=") {
			t.Errorf("%q is taken for %q", signature, body)
		}
	})
}
