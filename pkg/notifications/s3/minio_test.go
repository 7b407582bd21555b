package s3_test

import (
	"crypto/rand"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/s3"
)

// The tests in this file run on a real MinIO with two webhook targets, T1 and T2.

const (
	ourARN   = "arn:minio:sqs::T1:webhook"
	otherARN = "arn:minio:sqs::T2:webhook"
	ourID    = "bucketmesh-media-eu"
)

func env(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: this test needs real servers; run hack/test.sh, which starts them", name)
	}
	return v
}

// minio is a bucket of its own on MinIO.
type minio struct {
	t      *testing.T
	bucket string
	client *awss3.Client
	cfg    s3.Config
}

func newMinIO(t *testing.T) *minio {
	t.Helper()
	endpoint, key, secret := env(t, "BUCKETMESH_TEST_MINIO_A"), env(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), env(t, "BUCKETMESH_TEST_S3_SECRET_KEY")
	m := &minio{t: t, bucket: "notify-" + strings.ToLower(rand.Text()[:16])}
	m.client = awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	})
	if _, err := m.client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &m.bucket}); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	m.cfg = s3.Config{ID: ourID, AccessKeyID: key, SecretAccessKey: secret, Replica: config.Replica{
		Name: "eu", Provider: "s3", Bucket: m.bucket, Region: "us-east-1", Endpoint: endpoint, PathStyle: true, Dialect: "minio", Prefix: "media/",
		Notifications: config.Notifications{Target: ourARN},
	}}
	return m
}

// open is a provider, with changes to its configuration.
func (m *minio) open(change ...func(*s3.Config)) *s3.Bucket {
	m.t.Helper()
	cfg := m.cfg
	for _, c := range change {
		c(&cfg)
	}
	b, err := s3.Open(m.t.Context(), cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (m *minio) get() []types.QueueConfiguration {
	m.t.Helper()
	out, err := m.client.GetBucketNotificationConfiguration(m.t.Context(), &awss3.GetBucketNotificationConfigurationInput{Bucket: &m.bucket})
	if err != nil {
		m.t.Fatal(err)
	}
	slices.SortFunc(out.QueueConfigurations, func(a, b types.QueueConfiguration) int { return strings.Compare(*a.Id, *b.Id) })
	return out.QueueConfigurations
}

func (m *minio) put(q ...types.QueueConfiguration) {
	m.t.Helper()
	_, err := m.client.PutBucketNotificationConfiguration(m.t.Context(), &awss3.PutBucketNotificationConfigurationInput{
		Bucket: &m.bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: q},
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// others are entries of somebody else: of another name, with filters, for events that we want, too.
func others() []types.QueueConfiguration {
	return []types.QueueConfiguration{{
		Id: aws.String("thumbnails"), QueueArn: aws.String(otherARN), Events: []types.Event{"s3:ObjectCreated:Put", "s3:ObjectAccessed:*"},
		Filter: &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{
			{Name: "prefix", Value: aws.String("media/a b+c%/")}, {Name: "suffix", Value: aws.String(".jpg")},
		}}},
	}, {
		Id: aws.String(ourID + "-2"), QueueArn: aws.String(otherARN), Events: []types.Event{"s3:ObjectRemoved:*"},
	}}
}

func plan(t *testing.T, b *s3.Bucket, goal notifications.Goal) notifications.Plan {
	t.Helper()
	p, err := b.Plan(t.Context(), goal)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t *testing.T, b *s3.Bucket, goal notifications.Goal) {
	t.Helper()
	if err := b.Apply(t.Context(), goal); err != nil {
		t.Fatal(err)
	}
	if p := plan(t, b, goal); !p.Settled() {
		t.Fatalf("not settled after it was applied: %+v", p.Entries)
	}
}

func entry(t *testing.T, p notifications.Plan, name string) notifications.Entry {
	t.Helper()
	i := slices.IndexFunc(p.Entries, func(e notifications.Entry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("no entry %s in %+v", name, p.Entries)
	}
	return p.Entries[i]
}

func TestTrapForeignEntriesOnMinIOAreKept(t *testing.T) {
	m := newMinIO(t)
	m.put(others()...)
	before := m.get()
	b := m.open()

	if e := entry(t, plan(t, b, notifications.Install), ourID); e.State != notifications.Missing || e.Action != notifications.Add {
		t.Errorf("before: %+v", e)
	}
	if got := m.get(); !reflect.DeepEqual(got, before) {
		t.Fatalf("a plan changed the bucket: %+v", got)
	}
	apply(t, b, notifications.Install)
	got := m.get()
	if len(got) != 3 || *got[0].Id != ourID {
		t.Fatalf("after install: %+v", got)
	}
	if !reflect.DeepEqual(got[1:], before) {
		t.Errorf("foreign entries are not what they were: %+v, before %+v", got[1:], before)
	}
	if r := got[0]; *r.QueueArn != ourARN || *r.Filter.Key.FilterRules[0].Value != "media/" {
		t.Errorf("ours is %+v", r)
	}
	for _, name := range []string{"thumbnails", ourID + "-2"} {
		if e := entry(t, plan(t, b, notifications.Remove), name); e.State != notifications.Foreign || e.Action != notifications.Keep {
			t.Errorf("%s: %+v", name, e)
		}
	}
	apply(t, b, notifications.Remove)
	if got := m.get(); !reflect.DeepEqual(got, before) {
		t.Errorf("after remove: %+v, before %+v", got, before)
	}
}

func TestTwiceOnMinIOIsOnce(t *testing.T) {
	m := newMinIO(t)
	b := m.open()
	apply(t, b, notifications.Install)
	before := m.get()
	apply(t, b, notifications.Install)
	if got := m.get(); len(got) != 1 || !reflect.DeepEqual(got, before) {
		t.Errorf("the second install left %+v, the first %+v", got, before)
	}
	if e := entry(t, plan(t, b, notifications.Install), ourID); e.State != notifications.Present || len(e.Differences) > 0 {
		t.Errorf("after: %+v", e)
	}
	apply(t, b, notifications.Remove)
	apply(t, b, notifications.Remove)
	if got := m.get(); len(got) != 0 {
		t.Errorf("after remove: %+v", got)
	}
}

func TestOursIsMendedOnMinIO(t *testing.T) {
	m := newMinIO(t)
	b := m.open()
	m.put(append(others(), types.QueueConfiguration{Id: aws.String(ourID), QueueArn: aws.String(ourARN), Events: []types.Event{"s3:ObjectCreated:*"}})...)
	e := entry(t, plan(t, b, notifications.Install), ourID)
	fields := []string{}
	for _, d := range e.Differences {
		fields = append(fields, d.Field)
	}
	if e.State != notifications.Different || e.Action != notifications.Change || !reflect.DeepEqual(fields, []string{"events", "prefix"}) {
		t.Errorf("before: %+v", e)
	}
	apply(t, b, notifications.Install)
	if got := m.get(); len(got) != 3 || len(got[0].Events) != 3 {
		t.Errorf("after: %+v", got)
	}
}

// TestTrapSameContentsUnderAnotherNameIsNotOurs: only the id says whose an entry is.
func TestTrapSameContentsUnderAnotherNameIsNotOurs(t *testing.T) {
	m := newMinIO(t)
	b := m.open()
	apply(t, b, notifications.Install)
	theirs := m.get()[0]
	theirs.Id = aws.String("by-hand")
	m.put(theirs)
	before := m.get()
	if e := entry(t, plan(t, b, notifications.Install), "by-hand"); e.State != notifications.Foreign {
		t.Errorf("theirs: %+v", e)
	}
	apply(t, b, notifications.Remove)
	if got := m.get(); !reflect.DeepEqual(got, before) {
		t.Errorf("remove took somebody else's entry: %+v", got)
	}
}

func TestMinIOWithoutTheTarget(t *testing.T) {
	m := newMinIO(t)
	m.put(others()...)
	before := m.get()
	b := m.open(func(c *s3.Config) { c.Replica.Notifications.Target = "arn:minio:sqs::NOWHERE:webhook" })
	err := b.Apply(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "NOWHERE") {
		t.Errorf("got %v (%s)", err, errkind.Of(err))
	}
	if got := m.get(); !reflect.DeepEqual(got, before) {
		t.Errorf("after a refusal: %+v", got)
	}
}

func TestMinIOWithoutTheBucketOrTheKey(t *testing.T) {
	m := newMinIO(t)
	if _, err := m.open(func(c *s3.Config) { c.Replica.Bucket = "not-there" }).Plan(t.Context(), notifications.Install); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("no bucket: %v (%s)", err, errkind.Of(err))
	}
	_, err := m.open(func(c *s3.Config) { c.SecretAccessKey = "top-secret-value" }).Plan(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.PermissionDenied) || !strings.Contains(err.Error(), "s3:GetBucketNotification") || strings.Contains(err.Error(), "top-secret") {
		t.Errorf("wrong key: %v (%s)", err, errkind.Of(err))
	}
}
