package services_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	azure "github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// door is between the senders of a cloud and its normalizer. It keeps what was said, and may add what senders prove
// themselves with.
type door struct {
	url string // of the door, and after open, the normalizer's is in to

	server *httptest.Server
	mu     sync.Mutex
	to     string
	body   []byte      // of the last message that was taken
	status map[int]int // how often each was answered
}

// newDoor is a door that does not answer before it is opened. "" listens at a free port.
func newDoor(t *testing.T, listen string) *door {
	t.Helper()
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", listen)
	must(t, err)
	d := &door{url: "http://" + l.Addr().String(), status: map[int]int{}, server: httptest.NewUnstartedServer(nil)}
	must(t, d.server.Listener.Close()) // a port of its own choice
	d.server.Listener = l
	t.Cleanup(d.server.Close)
	return d
}

// open lets messages through to the normalizer at to.
func (d *door) open(t *testing.T, to string, proof http.Header) {
	t.Helper()
	target, err := url.Parse(to)
	must(t, err)
	d.to = to
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		for name := range proof {
			r.Out.Header.Set(name, proof.Get(name))
		}
	}}
	d.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := &answer{ResponseWriter: w}
		proxy.ServeHTTP(answer, r)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.status[answer.status]++; answer.status == http.StatusOK && len(body) > 0 {
			d.body = body
		}
	})
	d.server.Start()
}

// answer remembers its status.
type answer struct {
	http.ResponseWriter

	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// answered says how often the normalizer answered with a status.
func (d *door) answered(status int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status[status]
}

// forge sends a message that was taken before, changed, past the door, with another proof.
func (d *door) forge(t *testing.T, path string, change *strings.Replacer, proof string) (status int) {
	t.Helper()
	d.mu.Lock()
	body := change.Replace(string(d.body))
	d.mu.Unlock()
	if body == "" {
		t.Fatal("no message was taken before")
	}
	status, err := post(t.Context(), d.to+path, []byte(body), proof)
	must(t, err)
	return status
}

// post sends a message.
func post(ctx context.Context, to string, body []byte, authorization string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	a, err := (&http.Client{Timeout: 30 * time.Second}).Do(r)
	if err != nil {
		return 0, err
	}
	return a.StatusCode, a.Body.Close()
}

// subscription of the topic that the Cloud Storage emulator tells of its changes, for one bucket. The test ends it.
func newSubscription(t *testing.T, bucket string) *pubsub.Subscriber {
	t.Helper()
	topic := variable(t, "BUCKETMESH_TEST_PUBSUB_TOPIC")
	project, _, _ := strings.Cut(strings.TrimPrefix(topic, "projects/"), "/")
	client, err := pubsub.NewClient(t.Context(), project, option.WithEndpoint(variable(t, "BUCKETMESH_TEST_PUBSUB")), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	must(t, err)
	name := "projects/" + project + "/subscriptions/" + bucket
	admin := client.SubscriptionAdminClient
	_, err = admin.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: name, Topic: topic, Filter: `attributes.bucketId = "` + bucket + `"`})
	must(t, err)
	t.Cleanup(func() {
		err := admin.DeleteSubscription(context.WithoutCancel(t.Context()), &pubsubpb.DeleteSubscriptionRequest{Subscription: name})
		if err = errors.Join(err, client.Close()); err != nil {
			t.Error(err)
		}
	})
	return client.Subscriber(name)
}

// push does what Pub/Sub does for a push subscription, and its emulator does not: it posts each message, wrapped and with a
// token, and again until the answer is a success.
func push(t *testing.T, from *pubsub.Subscriber, to, token string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- from.Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
			body, err := json.Marshal(map[string]any{"subscription": from.String(), "message": map[string]any{
				"attributes": m.Attributes, "data": base64.StdEncoding.EncodeToString(m.Data), "messageId": m.ID, "message_id": m.ID,
				"publishTime": m.PublishTime.Format(time.RFC3339Nano), "publish_time": m.PublishTime.Format(time.RFC3339Nano),
			}})
			if err != nil {
				t.Error(err)
			}
			if status, err := post(ctx, to, body, token); err != nil || status != http.StatusOK {
				m.Nack() // it comes again
				return
			}
			m.Ack()
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// newQueue is a queue of Queue Storage, and a function that puts events into it as Event Grid does.
func newQueue(t *testing.T) (queueURL string, put func(emulator.Event)) {
	t.Helper()
	account := variable(t, "BUCKETMESH_TEST_AZURE_ACCOUNT")
	credential, err := azure.NewSharedKeyCredential(account, variable(t, "BUCKETMESH_TEST_AZURE_KEY"))
	must(t, err)
	queueURL = variable(t, "BUCKETMESH_TEST_AZURE_QUEUE") + "/" + account + "/" + bucketName()
	queue, err := azure.NewQueueClientWithSharedKeyCredential(queueURL, credential, nil)
	must(t, err)
	_, err = queue.Create(t.Context(), nil)
	must(t, err)
	return queueURL, func(e emulator.Event) {
		b, err := json.Marshal(e)
		if err == nil {
			_, err = queue.EnqueueMessage(context.WithoutCancel(t.Context()), base64.StdEncoding.EncodeToString(b), nil)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// newEventGrid delivers events to a webhook, in no order and some of them twice; validate is its handshake.
func newEventGrid(t *testing.T, webhook string) *emulator.EventGrid {
	t.Helper()
	g := emulator.NewEventGrid(emulator.EventGridConfig{
		Webhook: webhook, Account: variable(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"), Seed: 1, Duplicates: 0.2,
	})
	t.Cleanup(g.Close)
	return g
}

// until waits until a normalizer answered with a status.
func (d *door) until(t *testing.T, what string, status int) {
	t.Helper()
	cluster.Eventually(t, what, func() bool { return d.answered(status) > 0 })
}
