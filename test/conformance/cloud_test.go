package conformance_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
)

// The clouds, in the order of the table.
const (
	s3Cloud    = "s3"
	gcsCloud   = "gcs"
	azureCloud = "azure"
)

func cloudNames() []string { return []string{s3Cloud, gcsCloud, azureCloud} }

// thing is an object as a user of one cloud sees it: what its plain SDK tells, less what is bucketmesh's own.
type thing struct {
	body        string
	contentType string
	encoding    string
	language    string
	disposition string
	cache       string
	expires     string
	meta        map[string]string
	tags        map[string]string
	customTime  string // GCS
	redirect    string // S3
	md5         string // in hex, of what the cloud vouches for; no part of the view
	as          string // a special way to write it
}

// view is all that a user set, in one map.
func (o thing) view() map[string]string {
	v := map[string]string{}
	for name, value := range map[string]string{
		"content type": o.contentType, "content encoding": o.encoding, "content language": o.language, "content disposition": o.disposition,
		"cache control": o.cache, "expires": o.expires, "custom time": o.customTime, "website redirect": o.redirect,
	} {
		if value != "" {
			v[name] = value
		}
	}
	for k, value := range o.meta {
		if !strings.HasPrefix(strings.ToLower(k), "bucketmesh") {
			v["metadata "+k] = value
		}
	}
	for k, value := range o.tags {
		v["tag "+k] = value
	}
	return v
}

// shared is a view as all clouds can tell it: the case of metadata's names is nothing that a header keeps, and no type at all is
// the one that the specification of HTTP has for it.
func shared(v map[string]string) map[string]string {
	s := make(map[string]string, len(v))
	for k, value := range v {
		if name, ok := strings.CutPrefix(k, "metadata "); ok {
			k = "metadata " + strings.ToLower(name)
		}
		s[k] = value
	}
	if s["content type"] == "" {
		s["content type"] = "application/octet-stream"
	}
	return s
}

func same(a, b map[string]string) bool { return maps.Equal(a, b) }

// cloud is a provider with the plain SDK of its users. Methods that fail end the test, but for write.
type cloud interface {
	// create makes a bucket.
	create(t *testing.T, bucket string)
	// url is that of a replica.
	url(bucket string) string
	// write writes an object. An error is the cloud's refusal.
	write(ctx context.Context, bucket, key string, o thing) error
	// read reads an object.
	read(t *testing.T, bucket, key string) thing
	// list is every key and what changes with each change of its object: version, generation or ETag.
	list(t *testing.T, bucket string) map[string]string
	remove(t *testing.T, bucket, key string)
}

// env is a variable that hack/test.sh sets.
func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run hack/test.sh", name)
	}
	return v
}

const credentialsName = "conformance"

// lookupEnv has the credentials of all clouds.
func lookupEnv(name string) (string, bool) {
	v, ok := map[string]string{
		"BUCKETMESH_CONFORMANCE_ACCESS_KEY_ID":     os.Getenv("BUCKETMESH_TEST_S3_ACCESS_KEY"),
		"BUCKETMESH_CONFORMANCE_SECRET_ACCESS_KEY": os.Getenv("BUCKETMESH_TEST_S3_SECRET_KEY"),
		"BUCKETMESH_CONFORMANCE_ACCOUNT_KEY":       os.Getenv("BUCKETMESH_TEST_AZURE_KEY"),
	}[name]
	return v, ok
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func unknownWay(as string) error { return fmt.Errorf("there is no way %q to write an object", as) }
