package pipeline_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

const (
	accessKey = "pipelinetest"
	secretKey = "pipelinetest-secret"
)

// eventually polls a condition: tests wait for what happens, never for a time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("gave up waiting until %s", what)
		case <-tick.C:
		}
	}
}

// freePort is a port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// cluster is a group of buckets on MinIO servers of its own, whose webhooks post to an address that is known before.
type cluster struct {
	t      *testing.T
	Listen string
	Group  *config.Group
	sites  map[string]*site
	order  []string
}

// site is one bucket.
type site struct {
	t      *testing.T
	name   string
	bucket string
	client *s3.Client
}

// newCluster starts one MinIO for each name, with a versioned bucket that tells of its changes.
func newCluster(t *testing.T, names ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, Listen: freePort(t), sites: map[string]*site{}, order: names}
	var replicas strings.Builder
	for _, name := range names {
		endpoint := startMinIO(t, "http://"+c.Listen+"/s3/"+name)
		s := &site{t: t, name: name, bucket: "b-" + strings.ToLower(rand.Text()), client: s3.New(s3.Options{
			BaseEndpoint: aws.String(endpoint), Region: "us-east-1", UsePathStyle: true,
			Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		})}
		s.make()
		c.sites[name] = s
		fmt.Fprintf(&replicas, "  - {name: %s, url: \"s3://%s?endpoint=%s&dialect=minio&credentials=test\"}\n", name, s.bucket, endpoint)
	}
	doc := "apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata: {name: test}\nspec:\n  replicas:\n" + replicas.String()
	var err error
	if c.Group, err = config.Load([]byte(doc), config.Options{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func lookupEnv(name string) (string, bool) {
	switch name {
	case "BUCKETMESH_TEST_ACCESS_KEY_ID":
		return accessKey, true
	case "BUCKETMESH_TEST_SECRET_ACCESS_KEY":
		return secretKey, true
	}
	return "", false
}

// startMinIO runs a server with a webhook until the test ends.
func startMinIO(t *testing.T, webhook string) (endpoint string) {
	t.Helper()
	bin := os.Getenv("BUCKETMESH_TEST_MINIO_BIN")
	if bin == "" {
		t.Fatal("BUCKETMESH_TEST_MINIO_BIN is not set: run hack/test.sh, which installs MinIO and says where it is")
	}
	address, dir := freePort(t), t.TempDir()
	var log bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bin, "server", "--quiet", "--address", address, dir+"/data")
	cmd.Env = append(os.Environ(),
		"MINIO_ROOT_USER="+accessKey, "MINIO_ROOT_PASSWORD="+secretKey, "MINIO_BROWSER=off",
		"MINIO_NOTIFY_WEBHOOK_ENABLE_T1=on", "MINIO_NOTIFY_WEBHOOK_ENDPOINT_T1="+webhook,
		"MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_T1="+dir+"/queue", // events outlive an outage of the listener
	)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start MinIO: %v", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("MinIO at %s said:\n%s", address, log.String())
		}
	})
	endpoint = "http://" + address
	eventually(t, "MinIO is healthy", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/minio/health/cluster", nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		a.Body.Close()
		return a.StatusCode == http.StatusOK
	})
	return endpoint
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
}

func (s *site) make() {
	s.t.Helper()
	ctx := s.t.Context()
	_, err := s.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.bucket})
	s.must(err)
	_, err = s.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &s.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	s.must(err)
	_, err = s.client.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: &s.bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String("arn:minio:sqs::T1:webhook"), Events: []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"},
		}}},
	})
	s.must(err)
}

func (s *site) put(key, content string) {
	s.t.Helper()
	_, err := s.client.PutObject(s.t.Context(), &s3.PutObjectInput{
		Bucket: &s.bucket, Key: &key, Body: strings.NewReader(content), ContentType: aws.String("text/plain"), Metadata: map[string]string{"color": "blue"},
	})
	s.must(err)
}

func (s *site) delete(key string) {
	s.t.Helper()
	_, err := s.client.DeleteObject(s.t.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	s.must(err)
}

// get reads a key; ok is false if it is not there.
func (s *site) get(key string) (content string, ok bool) {
	s.t.Helper()
	out, err := s.client.GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if errors.As(err, new(*types.NoSuchKey)) {
		return "", false
	}
	s.must(err)
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	s.must(err)
	return string(b), true
}

// contents are all current objects.
func (s *site) contents() map[string]string {
	s.t.Helper()
	m := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		s.must(err)
		for _, o := range page.Contents {
			if content, ok := s.get(*o.Key); ok {
				m[*o.Key] = content
			}
		}
	}
	return m
}
