package services_test

import (
	"fmt"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// The database goes away under the services and comes back, in order and by a crash: what was under way comes again, the pools
// connect anew, and nothing becomes a dead letter or gets lost.
func TestServicesOutliveTheRestartOfTheDatabase(t *testing.T) {
	db := newDatabase(t)
	b := newHub(t)
	c := cluster.New(t, cluster.Options{Token: "secret-word", QueueDir: true}, "a", "b")
	document := written(t, c.Document)
	settings := append(cluster.Environment(), env.Config+"="+document, env.State+"="+db.dsn(), env.Broker+"="+b.url, env.Tokens+"=secret-word")
	b.subscribers(t, settings)
	launch(t, "normalizer-s3", c.Listen, settings...)
	c.Sites["a"].Put("first", "1")
	c.Everywhere("first", "1")

	for i, mode := range []string{"fast", "immediate", "fast"} {
		put := func(when string) {
			for n := range 5 {
				c.Sites["a"].Put(fmt.Sprintf("%s %d %d", when, i, n), mode)
			}
		}
		put("before")
		db.run("stop", "-m", mode)
		asked := b.again.Load()
		put("while")
		cluster.Eventually(t, "a subscriber asks for another try", func() bool { return b.again.Load() > asked })
		db.start()
		put("after")
	}
	for i, mode := range []string{"fast", "immediate", "fast"} {
		for _, when := range []string{"before", "while", "after"} {
			for n := range 5 {
				c.Everywhere(fmt.Sprintf("%s %d %d", when, i, n), mode)
			}
		}
	}
	store := openStore(t, db.dsn())
	o := operator{t, []string{"-f", document, "--state", db.dsn()}}
	var got ledger.Balance
	cluster.Eventually(t, "the books add up", func() bool {
		b.idle(t, store)
		o.asks(&got, "audit", "balance", "--under-way", "0s")
		return got.In >= 92 && got.Holds // each object at both sides
	})
	if ls := o.letters(); len(ls) > 0 {
		t.Errorf("dead letters: %+v", ls)
	}
}
