package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// patience bounds the wait for a notification. MinIO's queue is slow to find out that a receiver is back.
const patience = 90 * time.Second

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run the tests with hack/test.sh, which starts the servers", name)
	}
	return v
}

// received takes events and tells when there is something new.
type received struct {
	mu     sync.Mutex
	events []cloudevents.Event
	fresh  chan struct{}
}

func (r *received) Publish(_ context.Context, events []cloudevents.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	select {
	case r.fresh <- struct{}{}:
	default:
	}
	return nil
}

// Store drops: versitygw tells of all of its buckets, those of other tests included.
func (r *received) Store(context.Context, []byte, string, string) error { return nil }

// of lists "type key" of what came from a source, in words that are easy to compare, and the ids behind each.
func (r *received) of(t *testing.T, source string) map[string][]string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string][]string{}
	for _, e := range r.events {
		if e.Source() != source {
			continue
		}
		o, err := event.ObjectOf(e)
		if err != nil {
			t.Error(err)
			continue
		}
		k := strings.TrimPrefix(e.Type(), event.Prefix+"object.") + " " + o.Key
		out[k] = append(out[k], e.ID())
	}
	return out
}

// wait returns when enough says so.
func (r *received) wait(t *testing.T, source string, enough func(map[string][]string) bool) map[string][]string {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		got := r.of(t, source)
		if enough(got) {
			return got
		}
		select {
		case <-r.fresh:
		case <-timeout.C:
			t.Fatalf("after %s only these came: %v", patience, got)
		}
	}
}

// listen takes the address that the servers were told to send to. One test at a time can have it.
func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	timeout, again := time.NewTimer(patience), time.NewTicker(50*time.Millisecond)
	defer timeout.Stop()
	defer again.Stop()
	var lc net.ListenConfig
	for {
		l, err := lc.Listen(t.Context(), "tcp", addr)
		if err == nil {
			return l
		}
		select {
		case <-again.C:
		case <-timeout.C:
			t.Fatal(err)
		}
	}
}

// TestRealServersNotify lets a real MinIO and a real versitygw post to the handler.
func TestRealServersNotify(t *testing.T) {
	addr, secret := env(t, "BUCKETMESH_E2E_NORMALIZER_ADDR"), env(t, "BUCKETMESH_E2E_NOTIFY_TOKEN")
	bucket := fmt.Sprintf("normalize-%d-%d", os.Getpid(), time.Now().UnixNano())
	var stores []s3.Store
	for name, c := range map[string]struct{ endpoint, dialect string }{
		"minio-a":   {env(t, "BUCKETMESH_TEST_MINIO_A"), "minio"},
		"versitygw": {env(t, "BUCKETMESH_TEST_VERSITYGW"), "versitygw"},
	} {
		s := s3.StoreOf(config.Replica{Name: name, Provider: "s3", Endpoint: c.endpoint, Bucket: bucket, Dialect: c.dialect})
		s.Auth.Tokens = []string{secret}
		stores = append(stores, s)
	}
	got := &received{fresh: make(chan struct{}, 1)}
	h, err := s3.NewHandler(s3.HandlerConfig{
		Stores: stores, Sink: got, DeadLetters: got, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	served := make(chan error, 1)
	listener := listen(t, addr)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	for _, s := range stores {
		t.Run(s.Name, func(t *testing.T) { notify(t, s, got) })
	}
}

func notify(t *testing.T, s s3.Store, got *received) {
	client := awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: sdk.String(s.Server), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(env(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), env(t, "BUCKETMESH_TEST_S3_SECRET_KEY"), ""),
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bucket := sdk.String(s.Bucket)
	_, err := client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: bucket})
	must(err)
	minio := s.Dialect == s3.MinIO
	if minio {
		var targets []types.QueueConfiguration
		for _, arn := range []string{"BUCKETMESH_E2E_MINIO_ARN_FAST", "BUCKETMESH_E2E_MINIO_ARN_DURABLE"} {
			targets = append(targets, types.QueueConfiguration{
				QueueArn: sdk.String(env(t, arn)), Events: []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"},
			})
		}
		_, err := client.PutBucketNotificationConfiguration(t.Context(), &awss3.PutBucketNotificationConfigurationInput{
			Bucket: bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: targets},
		})
		must(err)
	}
	keys := slices.Clone(captured)
	if minio {
		keys = slices.DeleteFunc(keys, func(k string) bool { return k == "x//y" })
	}
	want := map[string]int{} // distinct changes
	for _, k := range keys {
		_, err := client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: sdk.String(k), Body: bytes.NewReader([]byte(k))})
		must(err)
		want["written.v1 "+k] = 1
	}
	_, err = client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: sdk.String(".bucketmesh/probe"), Body: bytes.NewReader(nil)})
	must(err)
	for _, tag := range []string{"first", "second"} {
		_, err := client.PutObjectTagging(t.Context(), &awss3.PutObjectTaggingInput{
			Bucket: bucket, Key: sdk.String("a b"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: sdk.String("t"), Value: sdk.String(tag)}}},
		})
		must(err)
	}
	want["metadataupdated.v1 a b"] = 2
	_, err = client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: bucket, Key: sdk.String("a b")})
	must(err)
	_, err = client.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{
		Objects: []types.ObjectIdentifier{{Key: sdk.String("a+b")}, {Key: sdk.String("a%2Bb")}},
	}})
	must(err)
	for _, k := range []string{"a b", "a+b", "a%2Bb"} {
		want["deleted.v1 "+k] = 1
	}
	deliveries := 1
	if minio {
		deliveries = 2 // through both targets
	}
	all := got.wait(t, s.Source, func(g map[string][]string) bool {
		for k, n := range want {
			if len(g[k]) < n*deliveries {
				return false
			}
		}
		return true
	})
	for k, ids := range all {
		slices.Sort(ids)
		if n := len(slices.Compact(slices.Clone(ids))); n != want[k] {
			t.Errorf("%s: %d ids in %d deliveries, want %d", k, n, len(ids), want[k])
		}
	}
}
