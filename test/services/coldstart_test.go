package services_test

import (
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// A pod is started because an event waits. How long each service takes from exec to ready is told with go test -v.
func TestColdStarts(t *testing.T) {
	dsn := pgtest.Schema(t)
	b := newHub(t)
	c := cluster.New(t, cluster.Options{Token: "secret-word"}, "a", "b")
	s := newSpans(t)
	settings := append(cluster.Environment(), env.Config+"="+written(t, c.Document), env.State+"="+dsn, env.Broker+"="+b.url, env.Tokens+"=secret-word",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+s.url, "OTEL_BSP_SCHEDULE_DELAY=50")
	for _, service := range []string{"sync", "sync", "sync", "conflict-resolver", "audit", "dead-letters", "normalizer-s3"} {
		begin := time.Now()
		launch(t, service, "", settings...)
		t.Logf("%s was ready after %d ms", service, time.Since(begin).Milliseconds())
	}
	cluster.Eventually(t, "the last of them looked at its buckets", func() bool { return s.has("conflict-resolver bucket.stat a .bucketmesh/replica") })
	if n := s.count("conflict-resolver bucket.put "); n > 0 {
		t.Errorf("it wrote %d objects to find out what the first service had found", n)
	}
}
