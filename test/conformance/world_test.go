package conformance_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/state/mem"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// parallel is how many keys are worked on at once.
const parallel = 8

// sink keeps what a worker announces.
type sink struct {
	mu     sync.Mutex
	events []cloudevents.Event
}

func (s *sink) Publish(_ context.Context, events ...cloudevents.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, events...)
	return nil
}

// failures are the announced ones, as "replica key".
func (s *sink) failures(t *testing.T) map[string]bool {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	said := map[string]bool{}
	for _, e := range s.events {
		if e.Type() != event.SyncFailed {
			continue
		}
		f, err := event.SyncOf(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range f.Replicas {
			said[r+" "+f.Key] = true
		}
	}
	return said
}

// place is a bucket of a cloud as a replica.
type place struct {
	name   string // of the replica
	cloud  cloud
	bucket string
}

// group is the real engine over some places.
type group struct {
	*worker.Worker
	sink   *sink
	places []place
}

func newBucket(t *testing.T, c cloud) string {
	t.Helper()
	bucket := "c-" + strings.ToLower(rand.Text())
	c.create(t, bucket)
	return bucket
}

func openGroup(t *testing.T, places ...place) *group {
	t.Helper()
	var doc strings.Builder
	doc.WriteString("apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata: {name: conformance}\nspec:\n  transfer: {partSize: 5MiB}\n  replicas:\n")
	for _, p := range places {
		fmt.Fprintf(&doc, "  - {name: %s, url: %q}\n", p.name, p.cloud.url(p.bucket))
	}
	g, err := config.Load([]byte(doc.String()), config.Options{Providers: worker.AllOpeners().Providers()})
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	w, err := worker.Open(t.Context(), worker.Options{
		Group: g, Store: mem.New(time.Now), Sink: s, Openers: worker.AllOpeners(), LookupEnv: lookupEnv,
		Probe: object.ProbeOptions{Writers: 2, Rounds: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &group{Worker: w, sink: s, places: places}
}

// reconcile looks at keys without a hint. outcomes are by key.
func (g *group) reconcile(t *testing.T, keys []string, attempts int) map[string]reconcile.Outcome {
	t.Helper()
	var mu sync.Mutex
	outcomes := map[string]reconcile.Outcome{}
	var e errgroup.Group
	e.SetLimit(parallel)
	for _, key := range keys {
		e.Go(func() error {
			out, err := g.Engine().Reconcile(t.Context(), key, nil, attempts)
			if err != nil {
				return fmt.Errorf("reconcile %q: %w", key, err)
			}
			mu.Lock()
			defer mu.Unlock()
			outcomes[key] = out
			return nil
		})
	}
	if err := e.Wait(); err != nil {
		t.Error(err)
	}
	if err := g.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// contents is what every place lists, by replica.
func (g *group) contents(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for _, p := range g.places {
		all[p.name] = p.cloud.list(t, p.bucket)
	}
	return all
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// normal is properties with no map where it is empty.
func normal(p driver.Properties) driver.Properties {
	for _, m := range []*map[string]string{&p.Metadata, &p.Tags} {
		if len(*m) == 0 {
			*m = nil
		}
	}
	return p
}
