package services_test

import (
	"testing"

	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// A delete waits for deletes.hold, after its event was answered: the process that handled it carries it, no timer has to.
func TestADeleteIsCarriedAfterItsHold(t *testing.T) {
	c := cluster.New(t, cluster.Options{
		Token: "secret-word", Spec: "  deletes: {hold: 1s, brake: {keys: 1, percent: 60}}\n",
	}, "a", "b")
	serveS3(t, c, c.Document)
	for _, key := range []string{"k", "l", "m", "n"} {
		c.Sites["a"].Put(key, "1")
		c.Everywhere(key, "1")
	}
	c.Sites["b"].Delete("k")
	c.Everywhere("k", "")
	c.Everywhere("l", "1")
}
