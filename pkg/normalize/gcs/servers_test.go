package gcs_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
)

const patience = 60 * time.Second // until all notifications have come

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run the tests with hack/test.sh, which starts the servers", name)
	}
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pusher does what Pub/Sub does for a push subscription, which the emulator does not do: it posts each message, wrapped
// and with a token, and acknowledges it if the answer is one of those that acknowledge.
type pusher struct {
	client *pubsub.SubscriptionAdminClient
	http   *http.Client
	sub    string
	url    string
	token  string
}

func newPusher(t *testing.T, name, url, token string) *pusher {
	t.Helper()
	topic := env(t, "BUCKETMESH_TEST_PUBSUB_TOPIC")
	client, err := pubsub.NewSubscriptionAdminClient(t.Context(), option.WithEndpoint(env(t, "BUCKETMESH_TEST_PUBSUB")),
		option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	must(t, err)
	project, _, _ := strings.Cut(topic, "/topics/")
	p := &pusher{client: client, http: &http.Client{Timeout: patience}, sub: project + "/subscriptions/" + name, url: url, token: token}
	_, err = client.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: p.sub, Topic: topic})
	must(t, err)
	t.Cleanup(func() {
		if err := client.DeleteSubscription(context.Background(), &pubsubpb.DeleteSubscriptionRequest{Subscription: p.sub}); err != nil {
			t.Error(err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// push posts what is there.
func (p *pusher) push(ctx context.Context) error {
	got, err := p.client.Pull(ctx, &pubsubpb.PullRequest{Subscription: p.sub, MaxMessages: 100})
	if err != nil {
		return err
	}
	var acks []string
	for _, m := range got.ReceivedMessages {
		body, err := json.Marshal(map[string]any{"subscription": p.sub, "message": map[string]any{
			"attributes": m.Message.Attributes, "data": base64.StdEncoding.EncodeToString(m.Message.Data), "messageId": m.Message.MessageId,
			"publishTime": m.Message.PublishTime.AsTime().Format(time.RFC3339Nano),
		}})
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", p.token)
		res, err := p.http.Do(r)
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("answer %s", res.Status)
		}
		acks = append(acks, m.AckId)
	}
	if len(acks) == 0 {
		return nil
	}
	return p.client.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: p.sub, AckIds: acks})
}

// TestRealServerNotifies writes to fake-gcs-server, whose notifications go by way of the Pub/Sub emulator to the handler.
func TestRealServerNotifies(t *testing.T) {
	endpoint := env(t, "BUCKETMESH_TEST_GCS")
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(endpoint+"/storage/v1/"), option.WithoutAuthentication(), storage.WithJSONReads())
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	i := oidctest.New(t)
	name := fmt.Sprintf("normalize-%d-%d", os.Getpid(), time.Now().UnixNano())
	replica := func(bucket string) gcs.Store {
		s := gcs.StoreOf(config.Replica{Name: bucket, Provider: "gcs", Endpoint: endpoint, Bucket: bucket})
		s.Auth.Accounts = []string{oidctest.Account}
		return s
	}
	plain, versioned := name+"-plain", name+"-versioned"
	h, w := newHandler(t, i, func(c *gcs.HandlerConfig) {
		c.Stores = []gcs.Store{replica(plain), replica(versioned)}
		c.Logger = slog.New(slog.DiscardHandler)
	})
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	p := newPusher(t, name, server.URL+"/gcs/"+plain, i.With(t, nil))

	want := map[string]int{} // distinct changes
	for bucket, versions := range map[string]bool{plain: false, versioned: true} {
		b := client.Bucket(bucket)
		must(t, b.Create(t.Context(), "project", &storage.BucketAttrs{VersioningEnabled: versions}))
		for _, key := range slices.Concat([]string{".bucketmesh/probe"}, keys) {
			if strings.ContainsAny(key, "\n") { // no bucket can hold it
				continue
			}
			change(t, b.Object(key))
			if key == ".bucketmesh/probe" {
				continue
			}
			at := bucket + " " + key + " "
			want[at+"written.v1"], want[at+"metadataupdated.v1"], want[at+"superseded.v1"] = 2, 2, 1
			want[at+map[bool]string{false: "versiondeleted.v1", true: "deleted.v1"}[versions]] = 1
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got map[string]int
	for !maps.Equal(got, want) {
		if err := p.push(ctx); err != nil {
			t.Fatalf("%v: %s", err, cmp.Diff(want, got))
		}
		got = tally(t, w)
	}
	_, dead := w.take()
	for _, letter := range dead { // other tests' buckets are in the topic too
		if strings.Contains(letter, name) {
			t.Error(letter)
		}
	}
}

// change writes an object twice, changes its metadata twice, and deletes it.
func change(t *testing.T, o *storage.ObjectHandle) {
	t.Helper()
	for _, body := range []string{"one", "three"} {
		w := o.NewWriter(t.Context())
		w.ContentType = "text/plain"
		_, err := w.Write([]byte(body))
		must(t, err)
		must(t, w.Close())
	}
	for _, v := range []string{"a", "b"} {
		_, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"x": v}})
		must(t, err)
	}
	must(t, o.Delete(t.Context()))
}

// tally counts the ids of "bucket key type".
func tally(t *testing.T, w *world) map[string]int {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := map[string]map[string]bool{}
	for _, e := range w.events {
		o, err := event.ObjectOf(e)
		must(t, err)
		k := o.Bucket + " " + o.Key + " " + strings.TrimPrefix(e.Type(), event.Prefix+"object.")
		if ids[k] == nil {
			ids[k] = map[string]bool{}
		}
		ids[k][e.ID()] = true
	}
	counts := map[string]int{}
	for k, set := range ids {
		counts[k] = len(set)
	}
	return counts
}
