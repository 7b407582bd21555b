// Package cluster starts MinIO servers whose webhooks post to an address of a test's choice, and does with their buckets
// what users do. The binary is named by BUCKETMESH_TEST_MINIO_BIN, which hack/test.sh sets.
//
// Errors fail the test. Concurrency: a Site may be used from many goroutines of its test.
package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
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

// Eventually polls a condition: tests wait for what happens, never for a time.
func Eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	EventuallyWithin(t, time.Minute, what, ok)
}

// EventuallyWithin is Eventually with another limit than a minute.
func EventuallyWithin(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
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

// Cluster is a group of buckets on MinIO servers of its own, whose webhooks post to an address that is known before.
type Cluster struct {
	t        *testing.T
	Listen   string // host:port that the webhooks post to
	Document string // the SyncGroup
	Group    *config.Group
	Sites    map[string]*Site
}

// Options of New. The zero value is good for use.
type Options struct {
	// QueueDir keeps notifications that could not be delivered, and delivers them later. MinIO then delivers all of
	// them through files, up to seconds late.
	QueueDir bool
	Token    string            // that the webhooks show; "" is none
	Spec     string            // more lines of the document's spec, indented by two
	Prefix   map[string]string // of replicas in their buckets, without the last slash
	Others   string            // replicas elsewhere: more lines of the document's replicas, indented by two
}

// Site is one bucket.
type Site struct {
	Bucket string

	t      *testing.T
	name   string
	prefix string // "" or with a slash at its end: the keys of the methods are below it
	server *server
	client *s3.Client
}

// Start starts the server.
func (s *Site) Start() { s.t.Helper(); s.server.start() }

// Stop kills the server. Its data stays.
func (s *Site) Stop() { s.t.Helper(); s.server.stop() }

// Replace puts a new and empty bucket of the same name in the place of the bucket, as somebody does who lost a server.
func (s *Site) Replace() {
	s.t.Helper()
	s.server.stop()
	s.must(os.RemoveAll(s.server.dir + "/data"))
	s.server.start()
	s.make(s.Bucket, true)
}

// Endpoint is the address of the server, http://host:port.
func (s *Site) Endpoint() string { return s.server.endpoint }

// Keys are the keys of all current objects of users.
func (s *Site) Keys() []string {
	s.t.Helper()
	var keys []string
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: &s.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		s.must(err)
		for _, o := range page.Contents {
			if key := strings.TrimPrefix(*o.Key, s.prefix); !strings.HasPrefix(key, config.ReservedPrefix) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// Unversioned makes a bucket without versions, which tells nobody of its changes.
func (s *Site) Unversioned() string {
	s.t.Helper()
	name := "u-" + strings.ToLower(rand.Text())
	s.make(name, false)
	return name
}

// New starts one MinIO for each name, with a versioned bucket that tells of its changes.
func New(t *testing.T, o Options, names ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Listen: FreePort(t), Sites: map[string]*Site{}}
	var replicas strings.Builder
	for _, name := range names {
		s := &Site{
			t: t, Bucket: "b-" + strings.ToLower(rand.Text()), name: name,
			server: newServer(t, "http://"+c.Listen+"/s3/"+name, o),
		}
		if p := o.Prefix[name]; p != "" {
			s.prefix = p + "/"
		}
		s.client = s3.New(s3.Options{
			BaseEndpoint: aws.String(s.server.endpoint), Region: "us-east-1", UsePathStyle: true,
			Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		})
		s.Start()
		s.make(s.Bucket, true)
		c.Sites[name] = s
		fmt.Fprintf(&replicas, "  - {name: %s, url: \"s3://%s/%s?endpoint=%s&dialect=minio&credentials=test\"}\n", name, s.Bucket, s.prefix, s.server.endpoint)
	}
	c.Document = "apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata: {name: test}\nspec:\n" + o.Spec + "  replicas:\n" + replicas.String() + o.Others
	var err error
	if c.Group, err = config.Load([]byte(c.Document), config.Options{}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Environment holds the credentials of the buckets.
func Environment() []string {
	return []string{"BUCKETMESH_TEST_ACCESS_KEY_ID=" + accessKey, "BUCKETMESH_TEST_SECRET_ACCESS_KEY=" + secretKey}
}

// LookupEnv is os.LookupEnv in that environment.
func LookupEnv(name string) (string, bool) {
	switch name {
	case "BUCKETMESH_TEST_ACCESS_KEY_ID":
		return accessKey, true
	case "BUCKETMESH_TEST_SECRET_ACCESS_KEY":
		return secretKey, true
	}
	return "", false
}

func (s *Site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
}

func (s *Site) make(bucket string, whole bool) {
	s.t.Helper()
	ctx := s.t.Context()
	_, err := s.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	s.must(err)
	if !whole {
		return
	}
	_, err = s.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	s.must(err)
	_, err = s.client.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: &bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{{
			QueueArn: aws.String("arn:minio:sqs::T1:webhook"), Events: []types.Event{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"},
		}}},
	})
	s.must(err)
}

// Put writes a key.
func (s *Site) Put(key, content string) {
	s.t.Helper()
	_, err := s.client.PutObject(s.t.Context(), &s3.PutObjectInput{
		Bucket: &s.Bucket, Key: aws.String(s.prefix + key), Body: strings.NewReader(content), ContentType: aws.String("text/plain"), Metadata: map[string]string{"color": "blue"},
	})
	s.must(err)
}

// Delete removes a key.
func (s *Site) Delete(key string) {
	s.t.Helper()
	_, err := s.client.DeleteObject(s.t.Context(), &s3.DeleteObjectInput{Bucket: &s.Bucket, Key: aws.String(s.prefix + key)})
	s.must(err)
}

// Get reads a key; ok is false if it is not there.
func (s *Site) Get(key string) (content string, ok bool) {
	s.t.Helper()
	out, err := s.client.GetObject(s.t.Context(), &s3.GetObjectInput{Bucket: &s.Bucket, Key: aws.String(s.prefix + key)})
	if errors.As(err, new(*types.NoSuchKey)) {
		return "", false
	}
	s.must(err)
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	s.must(err)
	return string(b), true
}

// Contents are all current objects.
func (s *Site) Contents() map[string]string {
	s.t.Helper()
	m := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: &s.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.t.Context())
		s.must(err)
		for _, o := range page.Contents {
			key := strings.TrimPrefix(*o.Key, s.prefix)
			if strings.HasPrefix(key, config.ReservedPrefix) {
				continue
			}
			if content, ok := s.Get(key); ok {
				m[key] = content
			}
		}
	}
	return m
}

// Everywhere waits until a key has a content at every site; "" is absent.
func (c *Cluster) Everywhere(key, content string) {
	c.t.Helper()
	Eventually(c.t, key+" is the same everywhere", func() bool {
		for _, s := range c.Sites {
			if got, ok := s.Get(key); got != content || ok != (content != "") {
				return false
			}
		}
		return true
	})
}
