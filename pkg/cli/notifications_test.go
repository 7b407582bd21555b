package cli_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskeys "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/cli"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

func server(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: this test needs real servers; run hack/test.sh, which starts them", name)
	}
	return v
}

// bound is a bucket on a real MinIO that somebody else has told to notify T2, and a group that wants it to notify T1.
type bound struct {
	t      *testing.T
	bucket string
	client *s3.Client
	file   string
	env    map[string]string
}

func newBound(t *testing.T) *bound {
	t.Helper()
	endpoint, key, secret := server(t, "BUCKETMESH_TEST_MINIO_A"), server(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), server(t, "BUCKETMESH_TEST_S3_SECRET_KEY")
	b := &bound{t: t, bucket: "notify-" + strings.ToLower(rand.Text()[:16]), env: map[string]string{
		"BUCKETMESH_TEST_ACCESS_KEY_ID": key, "BUCKETMESH_TEST_SECRET_ACCESS_KEY": secret,
	}}
	b.client = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true, Credentials: awskeys.NewStaticCredentialsProvider(key, secret, "")})
	if _, err := b.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &b.bucket}); err != nil {
		t.Fatal(err)
	}
	_, err := b.client.PutBucketNotificationConfiguration(t.Context(), &s3.PutBucketNotificationConfigurationInput{
		Bucket: &b.bucket, NotificationConfiguration: &types.NotificationConfiguration{QueueConfigurations: []types.QueueConfiguration{
			{Id: aws.String("thumbnails"), QueueArn: aws.String("arn:minio:sqs::T2:webhook"), Events: []types.Event{"s3:ObjectCreated:*"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.file = write(t, "group.yaml", fmt.Sprintf(`apiVersion: bucketmesh.dev/v1alpha1
kind: SyncGroup
metadata: {name: media}
spec:
  replicas:
  - name: eu
    url: "s3://%s/docs?endpoint=%s&dialect=minio&credentials=test"
    notifications: {target: "arn:minio:sqs::T1:webhook"}
  - name: us
    url: "s3://media-us?endpoint=http://127.0.0.1:1&dialect=versitygw&credentials=test"
`, b.bucket, endpoint))
	return b
}

// state is the whole configuration.
func (b *bound) state() string {
	b.t.Helper()
	out, err := b.client.GetBucketNotificationConfiguration(b.t.Context(), &s3.GetBucketNotificationConfigurationInput{Bucket: &b.bucket})
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := json.Marshal([]any{out.QueueConfigurations, out.TopicConfigurations, out.LambdaFunctionConfigurations, out.EventBridgeConfiguration})
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *bound) run(want cli.Code, args ...string) result {
	b.t.Helper()
	got := run(b.t, b.env, append([]string{"notifications"}, append(args, "-f", b.file)...)...)
	if got.code != want {
		b.t.Errorf("%q: exit code %d, want %d\n%s%s", args, got.code, want, got.out, got.err)
	}
	if secret := b.env["BUCKETMESH_TEST_SECRET_ACCESS_KEY"]; secret != "" && strings.Contains(got.out+got.err, secret) {
		b.t.Errorf("%q tells a secret", args)
	}
	return got
}

func (b *bound) says(got result, words ...string) {
	b.t.Helper()
	for _, w := range words {
		if !strings.Contains(got.out, w) {
			b.t.Errorf("nothing says %q:\n%s", w, got.out)
		}
	}
}

func TestNotificationsFromCheckToRemove(t *testing.T) {
	b := newBound(t)
	before := b.state()
	b.says(b.run(cli.Broken, "check"), "missing", "foreign", "thumbnails", "bucketmesh-media-eu", "not configured", "--event-webhook-url")
	b.says(b.run(cli.OK, "install", "--dry-run"), "missing", "add")
	if got := b.state(); got != before {
		t.Fatalf("a dry run changed the bucket: %s", got)
	}
	b.says(b.run(cli.OK, "install"), "added the queue bucketmesh-media-eu", "present")
	installed := b.state()
	if !strings.Contains(installed, "thumbnails") || !strings.Contains(installed, "docs/") {
		t.Errorf("installed %s", installed)
	}
	b.says(b.run(cli.OK, "install"), "nothing was to be done")
	b.says(b.run(cli.OK, "check"), "set", "present")
	b.says(b.run(cli.OK, "remove", "--dry-run"), "surplus", "remove")
	if got := b.state(); got != installed {
		t.Fatalf("installing twice, or a dry run, changed the bucket: %s", got)
	}
	b.says(b.run(cli.OK, "remove"), "removed the queue bucketmesh-media-eu")
	b.says(b.run(cli.OK, "remove"), "nothing was to be done")
	if got := b.state(); got != before {
		t.Errorf("after remove: %s, before %s", got, before)
	}
}

func TestNotificationsAsJSON(t *testing.T) {
	b := newBound(t)
	var got []notifications.Outcome
	if err := json.Unmarshal([]byte(b.run(cli.OK, "install", "-o", "json").out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Status != notifications.Set || len(got[0].Done) != 1 || len(got[0].Entries) != 2 || got[1].Status != notifications.NotConfigured {
		t.Errorf("%+v", got)
	}
}

func TestNotificationsThatFail(t *testing.T) {
	b := newBound(t)
	b.run(cli.Misconfigured, "check", "--replica", "us") // named, and nothing says what to set up
	if got := b.run(cli.NotFound, "check", "--replica", "asia"); !strings.Contains(got.err, `no replica "asia"`) {
		t.Errorf("%s", got.err)
	}
	b.run(cli.Usage, "install", "--timeout", "0s")
	b.run(cli.Usage, "install", "-o", "xml")
	if got := run(t, nil, "notifications", "check"); got.code != cli.Usage || !strings.Contains(got.err, "--file is missing") {
		t.Errorf("%d %s", got.code, got.err)
	}
	b.env["BUCKETMESH_TEST_SECRET_ACCESS_KEY"] = "not-the-secret"
	if got := b.run(cli.Misconfigured, "check"); !strings.Contains(got.err, "s3:GetBucketNotification") || !strings.Contains(got.out, "failed") {
		t.Errorf("%s%s", got.out, got.err)
	}
	delete(b.env, "BUCKETMESH_TEST_ACCESS_KEY_ID")
	if got := run(t, b.env, "notifications", "check", "-f", b.file); got.code != cli.Misconfigured || !strings.Contains(got.err, "BUCKETMESH_TEST_ACCESS_KEY_ID") {
		t.Errorf("%d %s", got.code, got.err)
	}
}

// TestNotificationsOfGoogleAndAzure: each provider gets what the environment has for it.
func TestNotificationsOfGoogleAndAzure(t *testing.T) {
	endpoint, pubsub := server(t, "BUCKETMESH_TEST_GCS"), server(t, "BUCKETMESH_TEST_PUBSUB")
	bucket := "notify-" + strings.ToLower(rand.Text()[:16])
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint+"/storage/v1/b?project=mesh-test", strings.NewReader(`{"name":"`+bucket+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: time.Minute}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Fatalf("make bucket: %s", resp.Status)
	}
	const account = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/mesh/providers/Microsoft.Storage/storageAccounts/mediaaz"
	b := &bound{t: t, env: map[string]string{"PUBSUB_EMULATOR_HOST": pubsub}, file: write(t, "group.yaml", `apiVersion: bucketmesh.dev/v1alpha1
kind: SyncGroup
metadata: {name: media}
spec:
  replicas:
  - name: us
    url: "gs://`+bucket+`/docs?endpoint=`+endpoint+`"
    notifications: {target: `+server(t, "BUCKETMESH_TEST_PUBSUB_TOPIC")+`, pull: `+server(t, "BUCKETMESH_TEST_PUBSUB_SUBSCRIPTION")+`}
  - name: az
    url: "azblob://mediaaz/media?credentials=az"
    notifications: {target: "https://mesh.example.com/azure/az", scope: `+account+`}
`)}
	b.says(b.run(cli.OK, "install", "--replica", "us"), "added the configuration bucketmesh-media-us", "present")
	b.says(b.run(cli.OK, "check", "--replica", "us"), "set")
	if got := b.run(cli.Misconfigured, "check"); !strings.Contains(got.err, "BUCKETMESH_WEBHOOK_TOKENS") {
		t.Errorf("%s", got.err)
	}
	b.says(b.run(cli.OK, "remove", "--replica", "us"), "removed the configuration")
}
