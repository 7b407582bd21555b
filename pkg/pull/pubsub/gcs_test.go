package pubsub_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	google "cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/pull"
	"github.com/bucketmesh/bucketmesh/pkg/pull/pulltest"
)

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run the tests with hack/test.sh, which starts the servers", name)
	}
	return v
}

// collected are the events that came, "type key", with how often.
type collected struct {
	mu   sync.Mutex
	came map[string][]string
	dead []string
}

func (c *collected) Publish(_ context.Context, events ...cloudevents.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range events {
		o, err := event.ObjectOf(e)
		if err != nil {
			return err
		}
		c.came[e.Type()+" "+o.Key] = append(c.came[e.Type()+" "+o.Key], e.ID())
	}
	return nil
}

func (c *collected) Store(_ context.Context, raw []byte, _, reason string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if bytes.Contains(raw, []byte(`pulled-`)) { // other tests' buckets share the topic
		c.dead = append(c.dead, reason)
	}
	return nil
}

func (c *collected) has(kind, key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.came[kind+" "+key]) > 0
}

// TestRealEventsOfAStorageServer writes and deletes at fake-gcs-server, which publishes to the emulator.
func TestRealEventsOfAStorageServer(t *testing.T) {
	store, address, topic := env(t, "BUCKETMESH_TEST_GCS"), env(t, "BUCKETMESH_TEST_PUBSUB"), env(t, "BUCKETMESH_TEST_PUBSUB_TOPIC")
	t.Setenv("PUBSUB_EMULATOR_HOST", address)
	var project string
	if parts := bytes.Split([]byte(topic), []byte("/")); len(parts) == 4 {
		project = string(parts[1])
	}
	admin, err := google.NewClient(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	name := fmt.Sprintf("pulled-%d", time.Now().UnixNano())
	sub := "projects/" + project + "/subscriptions/" + name
	if _, err := admin.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: sub, Topic: topic}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = admin.SubscriptionAdminClient.DeleteSubscription(context.WithoutCancel(t.Context()), &pubsubpb.DeleteSubscriptionRequest{Subscription: sub})
	})
	do := func(method, path string, body []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, store+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := new(http.Client).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode >= 300 {
			t.Fatalf("%s %s: %s", method, path, res.Status)
		}
	}
	bucket, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		t.Fatal(err)
	}
	do(http.MethodPost, "/storage/v1/b", bucket)
	keys := slices.DeleteFunc(pulltest.Keys(), func(k string) bool { return k == "new\nline" }) // Cloud Storage has no keys with a newline
	for _, k := range keys {
		do(http.MethodPost, "/upload/storage/v1/b/"+name+"/o?uploadType=media&name="+url.QueryEscape(k), []byte("hello"))
	}
	do(http.MethodDelete, "/storage/v1/b/"+name+"/o/plain", nil)

	r := config.Replica{Name: "r", Provider: "gcs", Bucket: name, Endpoint: store}
	r.Notifications.Pull = sub
	c := &collected{came: map[string][]string{}}
	p, err := pull.New(pull.Config{
		Group: &config.Group{Name: "media", Replicas: []config.Replica{r}}, Sink: c, DeadLetters: c, LookupEnv: os.LookupEnv,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for _, k := range keys {
		pulltest.Eventually(t, fmt.Sprintf("%q was written", k), func() bool { return c.has(event.ObjectWritten, k) })
	}
	pulltest.Eventually(t, "the delete came", func() bool {
		return c.has(event.ObjectDeleted, "plain") || c.has(event.ObjectVersionDeleted, "plain")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(c.dead) != 0 {
		t.Errorf("dead letters: %q", c.dead)
	}
}
