package services_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/pkg/subscriber"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// spans collects what services send over OTLP, by trace.
type spans struct {
	url string

	mu     sync.Mutex
	traces map[string][]string // lines of "service name replica key"
}

func newSpans(t *testing.T) *spans {
	t.Helper()
	s := &spans{traces: map[string][]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" {
			return // metrics
		}
		var request collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil {
			t.Errorf("read spans: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.add(&request)
	}))
	t.Cleanup(func() {
		server.Close()
		for id, lines := range s.traces {
			if t.Failed() {
				t.Logf("trace %s:\n  %s", id, strings.Join(lines, "\n  "))
			}
		}
	})
	s.url = server.URL
	return s
}

func (s *spans) add(request *collector.ExportTraceServiceRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, of := range request.GetResourceSpans() {
		service := value(of.GetResource().GetAttributes(), "service.name")
		for _, scope := range of.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				id := hex.EncodeToString(span.GetTraceId())
				line := strings.Join(strings.Fields(fmt.Sprint(service, " ", span.GetName(), " ", value(span.GetAttributes(), "bucketmesh.replica"), " ",
					value(span.GetAttributes(), "bucketmesh.key"))), " ")
				s.traces[id] = append(s.traces[id], line)
			}
		}
	}
}

func value(attributes []*common.KeyValue, key string) string {
	for _, a := range attributes {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// has reports whether one trace has all of the spans.
func (s *spans) has(lines ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, found := range s.traces {
		if !slices.ContainsFunc(lines, func(line string) bool { return !slices.Contains(found, line) }) {
			return true
		}
	}
	return false
}

// count is how many spans begin like this.
func (s *spans) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, found := range s.traces {
		for _, line := range found {
			if strings.HasPrefix(line, prefix) {
				n++
			}
		}
	}
	return n
}

// One change is one trace, from the provider's request to the write at the last replica, and on to what is told of it: through a
// broker that puts spans of its own into events, through the outbox, and through a conflict that a service settles.
func TestAChangeIsOneTrace(t *testing.T) {
	dsn := pgtest.Schema(t)
	s := newSpans(t)
	b := newHub(t)
	b.retrace = true
	c := cluster.New(t, cluster.Options{Token: "secret-word"}, "a", "b", "c")
	settings := append(cluster.Environment(), env.Config+"="+written(t, c.Document), env.State+"="+dsn, env.Broker+"="+b.url, env.Tokens+"=secret-word",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+s.url, "OTEL_BSP_SCHEDULE_DELAY=50")
	b.subscribers(t, settings)
	launch(t, "normalizer-s3", c.Listen, settings...)
	store := openStore(t, dsn)

	c.Sites["a"].Put("k", "1")
	c.Everywhere("k", "1")
	cluster.Eventually(t, "one trace has all of a change", func() bool {
		return s.has("normalizer-s3 POST /", "sync handle "+event.ObjectWritten, "sync bucket.open a k", "sync bucket.put b k", "sync bucket.put c k",
			"audit handle "+event.ObjectWritten, "audit handle "+event.SyncApplied)
	})

	// a's write is not told of, so that the one at b finds it: a conflict, in the trace of what was done at b.
	b.setLose(func(trigger string, e cloudevents.Event) bool {
		return trigger == subscriber.NameSync && strings.HasPrefix(e.Type(), ledger.Types) && strings.Contains(e.Source(), strings.TrimPrefix(c.Sites["a"].Endpoint(), "http://"))
	})
	c.Sites["a"].Put("clash", "from a")
	b.idle(t, store)
	c.Sites["b"].Put("clash", "from b")
	cluster.Eventually(t, "one trace has all of a conflict", func() bool {
		return s.has("normalizer-s3 POST /", "sync handle "+event.ObjectWritten, "conflict-resolver handle "+event.ConflictDetected,
			"sync handle "+event.ConflictResolved, "sync bucket.put c clash", "audit handle "+event.ConflictDetected, "audit handle "+event.ConflictResolved,
			"audit handle "+event.SyncApplied)
	})
}
