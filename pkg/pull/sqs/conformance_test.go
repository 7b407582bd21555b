package sqs_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/pull/pulltest"
)

func server(t *testing.T) *url.URL {
	t.Helper()
	v := os.Getenv("BUCKETMESH_TEST_SQS")
	if v == "" {
		t.Fatal("BUCKETMESH_TEST_SQS is not set: run the tests with hack/test.sh, which starts the servers")
	}
	u, err := url.Parse(v)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// client asks the server at an address. What is asked of a queue goes there, whatever host is in the queue's URL.
func client(address string) *awssqs.Client {
	return awssqs.New(awssqs.Options{
		BaseEndpoint: aws.String("http://" + address), Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
	})
}

// newQueue makes a queue and is its URL: the server names it by the host that it was asked at, and knows it by that URL.
func newQueue(t *testing.T, c *awssqs.Client, attributes map[string]string) string {
	t.Helper()
	name := fmt.Sprintf("q%d", time.Now().UnixNano())
	out, err := c.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl
}

func send(t *testing.T, c *awssqs.Client, queueURL, body string) {
	t.Helper()
	if _, err := c.SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: &queueURL, MessageBody: &body}); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, c *awssqs.Client, queueURL string) bool {
	t.Helper()
	out, err := c.GetQueueAttributes(t.Context(), &awssqs.GetQueueAttributesInput{
		QueueUrl: &queueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		i, err := strconv.Atoi(out.Attributes[name])
		if err != nil {
			t.Fatal(err)
		}
		n += i
	}
	return n == 0
}

func quote(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The shapes in which one change can arrive.
var shapes = map[string]struct {
	dialect string
	body    func(t *testing.T, key string) string
}{
	"aws": {"aws", record},
	"minio": {"minio", func(t *testing.T, key string) string {
		return strings.Replace(strings.Replace(record(t, key), `{"Records"`, `{"EventName":"s3:ObjectCreated:Put","Key":`+quote(t, "b/"+key)+`,"Records"`, 1),
			`"ObjectCreated:Put","s3"`, `"s3:ObjectCreated:Put","s3"`, 1)
	}},
	"sns": {"aws", func(t *testing.T, key string) string {
		return `{"Type":"Notification","MessageId":"m","TopicArn":"arn:aws:sns:eu-central-1:1:t","Subject":"Amazon S3 Notification",` +
			`"Message":` + quote(t, record(t, key)) + `,"Timestamp":"2026-11-20T18:00:00.000Z","SignatureVersion":"1","Signature":"x",` +
			`"SigningCertURL":"https://sns.eu-central-1.amazonaws.com/x.pem","UnsubscribeURL":"https://sns.eu-central-1.amazonaws.com/"}`
	}},
	"eventbridge": {"aws", func(t *testing.T, key string) string {
		return `{"version":"0","id":"i","detail-type":"Object Created","source":"aws.s3","account":"1","time":"2026-11-20T18:00:00Z",` +
			`"region":"eu-central-1","resources":["arn:aws:s3:::b"],"detail":{"version":"0","bucket":{"name":"b"},"object":{"key":` + quote(t, key) +
			`,"size":5,"etag":"e","sequencer":"00617F08299329D189"},"request-id":"r","requester":"1","source-ip-address":"192.0.2.1","reason":"PutObject"}}`
	}},
}

// record is what S3 sends: the key is form-encoded.
func record(t *testing.T, key string) string {
	return `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"eu-central-1","eventTime":"2026-11-20T18:00:00.000Z",` +
		`"eventName":"ObjectCreated:Put","s3":{"s3SchemaVersion":"1.0","configurationId":"c","bucket":{"name":"b","arn":"arn:aws:s3:::b"},` +
		`"object":{"key":` + quote(t, url.QueryEscape(key)) + `,"size":5,"eTag":"e","sequencer":"0055AED6DCD90281E5"}}}]}`
}

func replica(dialect, pull string) config.Replica {
	r := config.Replica{Name: "r", Provider: "s3", Bucket: "b", Region: "eu-central-1", Dialect: dialect, Credentials: "Q"}
	r.Notifications.Pull = pull
	return r
}

func environment() map[string]string {
	return map[string]string{"BUCKETMESH_Q_ACCESS_KEY_ID": "test-id", "BUCKETMESH_Q_SECRET_ACCESS_KEY": "test-secret"}
}

func target(t *testing.T, shape string) pulltest.Target {
	t.Helper()
	proxy := pulltest.NewProxy(t, server(t).Host)
	at, c := newQueue(t, client(proxy.Addr), nil), client(server(t).Host)
	s := shapes[shape]
	return pulltest.Target{
		Replica: replica(s.dialect, at), Env: environment(), Proxy: proxy,
		Send:    func(t *testing.T, m pulltest.Message) { send(t, c, at, string(m.Body)) },
		Empty:   func(t *testing.T) bool { return empty(t, c, at) },
		Written: func(key string) pulltest.Message { return pulltest.Message{Body: []byte(s.body(t, key))} },
		Poison:  pulltest.Message{Body: []byte(`{"what":"is this"}`)},
		Missing: replica(s.dialect, at+"-missing"),
	}
}

func TestConformance(t *testing.T) {
	pulltest.Run(t, func(t *testing.T) pulltest.Target { return target(t, "aws") })
}

func TestTrapKeysRoundTripThroughEveryShape(t *testing.T) {
	for shape := range shapes {
		t.Run(shape, func(t *testing.T) { pulltest.KeysRoundTrip(t, target(t, shape)) })
	}
}
