package s3_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/object/s3"
)

// server is a real S3 server that hack/test.sh started.
type server struct {
	name, endpoint, key, secret string
}

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: this test needs real servers; run hack/test.sh, which starts them", name)
	}
	return v
}

func minio(t *testing.T) server {
	t.Helper()
	return server{"minio", env(t, "BUCKETMESH_TEST_MINIO_A"), env(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), env(t, "BUCKETMESH_TEST_S3_SECRET_KEY")}
}

func versitygw(t *testing.T) server {
	t.Helper()
	return server{"versitygw", env(t, "BUCKETMESH_TEST_VERSITYGW"), env(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), env(t, "BUCKETMESH_TEST_S3_SECRET_KEY")}
}

// sdk is a client beside the driver: for what a driver doesn't do (making buckets) and for looking behind its back.
func (s server) sdk() *awss3.Client {
	return awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.key, s.secret, ""),
	})
}

// bucket makes an empty bucket with a random name.
func (s server) bucket(t *testing.T, versioned bool) string {
	t.Helper()
	name := "object-" + strings.ToLower(rand.Text()[:16])
	if _, err := s.sdk().CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatalf("create bucket on %s: %v", s.name, err)
	}
	if versioned {
		s.versioning(t, name, types.BucketVersioningStatusEnabled)
	}
	return name
}

func (s server) versioning(t *testing.T, bucket string, status types.BucketVersioningStatus) {
	t.Helper()
	_, err := s.sdk().PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status},
	})
	if err != nil {
		t.Fatalf("set versioning on %s: %v", s.name, err)
	}
}

// open is a driver on a bucket, with changes to its configuration.
func (s server) open(t *testing.T, bucket string, change ...func(*s3.Config)) *s3.Bucket {
	t.Helper()
	cfg := s3.Config{Bucket: bucket, Endpoint: s.endpoint, PathStyle: true, AccessKeyID: s.key, SecretAccessKey: s.secret}
	for _, c := range change {
		c(&cfg)
	}
	b, err := s3.Open(context.WithoutCancel(t.Context()), cfg)
	if err != nil {
		t.Fatalf("open bucket on %s: %v", s.name, err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
