package services_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// A delete waits for deletes.hold, after its event was answered: the process that handled it carries it, no timer has to.
func TestADeleteIsCarriedAfterItsHold(t *testing.T) {
	dsn := pgtest.Schema(t)
	b := newHub(t)
	c := cluster.New(t, cluster.Options{
		Token: "secret-word", Spec: "  deletes: {hold: 1s, brake: {keys: 1, percent: 60}}\n",
	}, "a", "b")
	settings := append(cluster.Environment(), env.Config+"="+written(t, c.Document), env.State+"="+dsn, env.Broker+"="+b.url, env.Tokens+"=secret-word")
	b.subscribers(t, settings)
	launch(t, "normalizer-s3", c.Listen, settings...)

	for _, key := range []string{"k", "l", "m", "n"} {
		c.Sites["a"].Put(key, "1")
		c.Everywhere(key, "1")
	}
	c.Sites["b"].Delete("k")
	c.Everywhere("k", "")
	c.Everywhere("l", "1")
}
