package services_test

import (
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// A bucket that is not there keeps no service from starting: the other replicas are kept the same, and what the missing one has to get
// waits, with the reason.
func TestServicesLeaveOutABucketThatIsNotThere(t *testing.T) {
	c := cluster.New(t, cluster.Options{Token: "secret-word"}, "a", "b")
	var third string
	for line := range strings.Lines(c.Document) {
		if strings.Contains(line, "name: a,") {
			third = strings.NewReplacer("name: a,", "name: c,", c.Sites["a"].Bucket, "not-"+c.Sites["a"].Bucket).Replace(line)
		}
	}
	_, o := serveS3(t, c, c.Document+third)

	c.Sites["a"].Put("k", "1")
	c.Everywhere("k", "1")
	c.Sites["b"].Put("k", "2")
	c.Everywhere("k", "2")
	var s pipeline.Status
	cluster.Eventually(t, "the missing one waits, and status says why", func() bool {
		code, errs := o.asks(&s, "status")
		if code != cli.OK {
			t.Fatal(code, errs)
		}
		return len(s.DirtyKeys) == 1 && strings.Contains(s.DirtyKeys[0].Reason, "replica c")
	})
	if s.DirtyKeys[0].Key != "k" || !strings.Contains(s.DirtyKeys[0].Reason, "left out") {
		t.Errorf("%+v", s.DirtyKeys[0])
	}
}
