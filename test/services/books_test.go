package services_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// Services that know nothing of each other keep the books of one group; what gets lost between them is seen.
func TestServicesAccountForEveryEvent(t *testing.T) {
	dsn := pgtest.Schema(t)
	b := newHub(t)
	c := cluster.New(t, cluster.Options{Token: "secret-word", Spec: "  filter: {exclude: [\"tmp/**\"]}\n"}, "a", "b")
	document := written(t, c.Document)
	settings := append(cluster.Environment(), env.Config+"="+document, env.State+"="+dsn, env.Broker+"="+b.url, env.Tokens+"=secret-word")
	b.subscribers(t, settings)
	launch(t, "normalizer-s3", c.Listen, settings...)
	store := openStore(t, dsn)
	balance := func() (got ledger.Balance, code cli.Code) {
		t.Helper()
		b.idle(t, store)
		var out, errs bytes.Buffer
		app := &cli.App{Out: &out, Err: &errs}
		code = app.Run(t.Context(), []string{"audit", "balance", "-f", document, "--state", dsn, "--under-way", "0s", "-o", "json"})
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s%s", err, out.String(), errs.String())
		}
		return got, code
	}

	c.Sites["a"].Put("k", "1")
	c.Everywhere("k", "1")
	c.Sites["b"].Put("tmp/k", "1")
	c.Sites["b"].Put("k", "2")
	c.Everywhere("k", "2")
	var got ledger.Balance
	var code cli.Code
	cluster.Eventually(t, "all five events are in the books", func() bool { got, code = balance(); return got.In == 5 })
	if !got.Holds || code != cli.OK || got.Applied != 2 || got.Superseded != 2 || got.Filtered != 1 {
		t.Errorf("%d, %+v", code, got)
	}

	b.setLose(func(trigger string, e cloudevents.Event) bool {
		return trigger == subscriber.NameSync && strings.HasPrefix(e.Type(), ledger.Types)
	})
	c.Sites["a"].Put("lost", "1")
	cluster.Eventually(t, "the loss is seen", func() bool { got, code = balance(); return got.Unaccounted == 1 })
	if got.Holds || code != cli.Broken || got.In != 6 || len(got.Examples) != 1 || got.Examples[0].Subject != "lost" {
		t.Errorf("%d, %+v", code, got)
	}

	// A comparison of all buckets makes up for it, and closes the books.
	b.setLose(nil)
	for _, what := range []string{"due", "backfill"} {
		request, err := event.NewScan("", event.Scan{Group: "test", What: what}, time.Now())
		must(t, err)
		must(t, b.Publish(t.Context(), request))
	}
	c.Everywhere("lost", "1")
	cluster.Eventually(t, "the books are closed", func() bool { got, code = balance(); return got.Holds && got.In == 7 })
	if code != cli.OK || got.Applied != 2 || got.Superseded != 4 {
		t.Errorf("%d, %+v", code, got)
	}
}
