package services_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

const pulledGroup = `apiVersion: bucketmesh.dev/v1alpha1
kind: SyncGroup
metadata: {name: media}
spec:
  replicas:
    - name: a
      url: s3://pulled-a?region=eu-central-1&credentials=Q
      notifications: {pull: %q}
    - {name: b, url: "s3://pulled-b?region=eu-central-1"}
`

// TestThePullerDrainsAQueueUntilItIsToldToEnd runs the program against an SQS server.
func TestThePullerDrainsAQueueUntilItIsToldToEnd(t *testing.T) {
	server := variable(t, "BUCKETMESH_TEST_SQS")
	client := sqs.New(sqs.Options{
		BaseEndpoint: aws.String(server), Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
	})
	queue, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(fmt.Sprintf("puller%d", time.Now().UnixNano()))})
	if err != nil {
		t.Fatal(err)
	}
	var came atomic.Pointer[event.Object]
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, err := cehttp.NewEventFromHTTPRequest(r)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if o, err := event.ObjectOf(*e); err == nil {
			came.Store(&o)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer sink.Close()
	settings := func(url string) []string {
		return []string{env.Config + "=" + written(t, fmt.Sprintf(pulledGroup, url)), env.Broker + "=" + sink.URL, "BUCKETMESH_Q_ACCESS_KEY_ID=k", "BUCKETMESH_Q_SECRET_ACCESS_KEY=s"}
	}
	body := `{"Records":[{"eventVersion":"2.1","eventTime":"2026-11-20T18:00:00.000Z","eventName":"ObjectCreated:Put",` +
		`"s3":{"bucket":{"name":"pulled-a"},"object":{"key":"a+b","size":1,"eTag":"e","sequencer":"0055AED6DCD90281E5"}}}]}`
	if _, err := client.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: &body}); err != nil {
		t.Fatal(err)
	}
	launch(t, "puller", "", settings(*queue.QueueUrl)...) // ready, and ends in order when the test does
	cluster.Eventually(t, "the event is at the broker", func() bool { o := came.Load(); return o != nil && o.Key == "a b" })

	for says, environment := range map[string][]string{
		"correct notifications.pull": settings(*queue.QueueUrl + "-missing"),
		env.Config:                   nil,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "puller"))
		cmd.Env = append([]string{"PORT=0"}, environment...)
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), says) {
			t.Errorf("%v, must say %s:\n%s", err, says, out)
		}
	}
}
