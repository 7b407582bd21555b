package services_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// operator is somebody at the command line, with the document and the database of the services.
type operator struct {
	t    *testing.T
	args []string
}

// asks runs a command and reads its JSON.
func (o operator) asks(into any, args ...string) (code cli.Code, errs string) {
	o.t.Helper()
	var out, err bytes.Buffer
	app := &cli.App{Out: &out, Err: &err, LookupEnv: func(string) (string, bool) { return "", false }}
	code = app.Run(o.t.Context(), append(append(args, "-o", "json"), o.args...))
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			o.t.Fatalf("%v: %s", err, out.String())
		}
	}
	return code, err.String()
}

func (o operator) letters(args ...string) (ls []deadletter.Letter) {
	o.t.Helper()
	if code, errs := o.asks(&ls, append([]string{"dead-letters", "list"}, args...)...); code != cli.OK {
		o.t.Fatalf("%d: %s", code, errs)
	}
	return ls
}

// What a broker gives up is kept with its reason, the books say so, and a replay finishes it once the cause is gone.
func TestDeadLettersAreKeptAndReplayed(t *testing.T) {
	dsn := pgtest.Schema(t)
	b := newHub(t)
	c := cluster.New(t, cluster.Options{Token: "secret-word"}, "a", "b")
	document := written(t, c.Document)
	settings := append(cluster.Environment(), env.Config+"="+document, env.State+"="+dsn, env.Broker+"="+b.url, env.Tokens+"=secret-word")
	b.subscribers(t, settings)
	launch(t, "normalizer-s3", c.Listen, settings...)
	store := openStore(t, dsn)
	o := operator{t, []string{"-f", document, "--state", dsn}}
	balance := func() (got ledger.Balance) {
		t.Helper()
		b.idle(t, store)
		o.asks(&got, "audit", "balance", "--under-way", "0s")
		return got
	}

	// The broker gives up after all tries, so that sync never heard of it: nobody but the dead-letter sink can know.
	b.setGiveUp(func(trigger string, e cloudevents.Event) bool {
		return trigger == subscriber.NameSync && strings.HasPrefix(e.Type(), ledger.Types)
	})
	c.Sites["a"].Put("k", "1")
	var got ledger.Balance
	cluster.Eventually(t, "the books have the dead letter", func() bool { got = balance(); return got.In == 1 && got.DeadLetters == 1 })
	if !got.Holds || got.Unaccounted != 0 {
		t.Errorf("%+v", got)
	}
	var status pipeline.Status
	if code, errs := o.asks(&status, "status"); code != cli.OK || !status.Services || status.Events.DeadLetters != 1 || !status.Ledger.Holds {
		t.Errorf("status: %d, %+v, %s", code, status, errs)
	}
	ls := o.letters()
	if len(ls) != 1 || ls[0].Trigger != "sync" || ls[0].Event.Subject() != "k" || ls[0].Reason == "" {
		t.Fatalf("%+v", ls)
	}

	// A broker that does not take it keeps the letter where it is.
	var sent struct{ Replayed int }
	replay := []string{"dead-letters", "replay", "--broker", b.url}
	b.setDown(true)
	if code, errs := o.asks(&sent, append(replay, ls[0].ID)...); code != cli.Failure || sent.Replayed != 0 {
		t.Errorf("while the broker is down: %d, %d replayed, %s", code, sent.Replayed, errs)
	}
	b.setDown(false)
	if len(o.letters()) != 1 {
		t.Error("the letter is gone, and the broker did not take it")
	}

	// It fails again, and is the same letter.
	if code, errs := o.asks(&sent, append(replay, ls[0].ID)...); code != cli.OK || sent.Replayed != 1 {
		t.Errorf("%d, %d replayed, %s", code, sent.Replayed, errs)
	}
	cluster.Eventually(t, "it is back", func() bool {
		again := o.letters()
		return len(again) == 1 && again[0].ID == ls[0].ID && again[0].Arrivals == 2
	})
	if got = balance(); !got.Holds || got.In != 1 || got.DeadLetters != 1 {
		t.Errorf("%+v", got)
	}

	b.setGiveUp(nil)
	if code, errs := o.asks(&sent, append(replay, "--all")...); code != cli.OK || sent.Replayed != 1 {
		t.Errorf("%d, %d replayed, %s", code, sent.Replayed, errs)
	}
	c.Everywhere("k", "1")
	cluster.Eventually(t, "the books have the replay", func() bool { got = balance(); return got.In == 2 && got.Applied == 1 })
	if !got.Holds || got.DeadLetters != 0 {
		t.Errorf("%+v", got)
	}
	if ls := o.letters(); len(ls) != 0 {
		t.Errorf("left: %+v", ls)
	}
	if ls := o.letters("--replayed"); len(ls) != 1 || ls[0].Replayed.IsZero() {
		t.Errorf("replayed: %+v", ls)
	}
}

// An event that can never work goes to the dead letters at once, with what the subscriber said; so does a message that can't be
// made an event.
func TestPoisonIsADeadLetterWithItsReason(t *testing.T) {
	c := cluster.New(t, cluster.Options{Token: "secret-word"}, "a", "b")
	b, o := serveS3(t, c, c.Document)

	poison := cloudevents.New()
	poison.SetID("1")
	poison.SetSource("https://s3.example/media")
	poison.SetType(ledger.Types + "written.v1")
	must(t, poison.SetData(cloudevents.ApplicationJSON, []byte(`{"bucket": 7}`)))
	must(t, b.Publish(t.Context(), poison))
	status, err := post(t.Context(), "http://"+c.Listen+"/s3/a", []byte(`{"no": "notification"}`), "Bearer secret-word")
	must(t, err)
	if status != http.StatusOK {
		t.Fatalf("the normalizer answered %d", status)
	}

	var ls []deadletter.Letter
	cluster.Eventually(t, "both are dead letters", func() bool { ls = o.letters(); return len(ls) == 2 })
	for _, l := range ls {
		var one deadletter.Letter
		if code, errs := o.asks(&one, "dead-letters", "show", l.ID); code != cli.OK || fmt.Sprint(one.Reason, one.Kind) != fmt.Sprint(l.Reason, l.Kind) {
			t.Errorf("%d, %+v: %s", code, one, errs)
		}
		switch {
		case l.Event != nil:
			if l.Trigger != "sync" || l.Code != 400 || l.Kind != "invalid" || !strings.Contains(l.Reason, "bucket") || l.Destination == "" ||
				strings.Contains(l.Event.String(), "knative") {
				t.Errorf("%+v", l)
			}
		case l.Trigger != "" || string(l.Raw) != `{"no":"notification"}` || l.Reason == "":
			t.Errorf("%+v: %s", l, l.Raw)
		default:
			var done struct{ Replayed, Dropped int }
			if code, _ := o.asks(&done, "dead-letters", "replay", "--broker", b.url, l.ID); code != cli.Misconfigured {
				t.Errorf("a raw message was replayed: %d", code)
			}
			if code, errs := o.asks(&done, "dead-letters", "drop", l.ID); code != cli.OK || done.Dropped != 1 {
				t.Errorf("%d, %+v: %s", code, done, errs)
			}
			if code, _ := o.asks(&done, "dead-letters", "drop", l.ID); code != cli.NotFound {
				t.Errorf("dropped twice: %d", code)
			}
		}
	}
	if ls := o.letters(); len(ls) != 1 {
		t.Errorf("left: %+v", ls)
	}
}
