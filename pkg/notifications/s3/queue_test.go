package s3_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/s3"
)

// The tests in this file look at queues of a real SQS server (fauxqs).

// newQueue makes a queue and tells its URL and ARN.
func newQueue(t *testing.T, maxMessage string) (url, arn string) {
	t.Helper()
	client := sqs.New(sqs.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(env(t, "BUCKETMESH_TEST_SQS")),
		Credentials: credentials.NewStaticCredentialsProvider(env(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), env(t, "BUCKETMESH_TEST_S3_SECRET_KEY"), ""),
	})
	q, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{
		QueueName: aws.String("notify-" + rand.Text()[:12]), Attributes: map[string]string{"MaximumMessageSize": maxMessage},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		t.Fatal(err)
	}
	return *q.QueueUrl, a.Attributes["QueueArn"]
}

func pulling(target, pull string) func(*s3.Config) {
	return func(c *s3.Config) { c.Replica.Notifications.Target, c.Replica.Notifications.Pull = target, pull }
}

func TestQueueIsInstalled(t *testing.T) {
	s := newDocumentedS3(t, foreignQueue)
	url, arn := newQueue(t, "65536")
	b := s.open(t, pulling(arn, url))
	for _, f := range plan(t, b, notifications.Install).Findings {
		if f.Level != notifications.Advice {
			t.Errorf("%+v", f)
		}
	}
	apply(t, b, notifications.Install)
	if !strings.Contains(s.now(), arn) || !strings.Contains(s.now(), "billing") {
		t.Errorf("after: %s", s.now())
	}
}

func TestTrapQueueOfSmallMessagesIsRefused(t *testing.T) {
	s := newDocumentedS3(t)
	url, arn := newQueue(t, "65535")
	b := s.open(t, pulling(arn, url))
	f, refused := plan(t, b, notifications.Install).Refusal()
	if !refused || !strings.Contains(f.String(), "65535 bytes") {
		t.Errorf("plan: %v", f)
	}
	if err := b.Apply(t.Context(), notifications.Install); !errkind.Is(err, errkind.Invalid) || len(s.writes) > 0 {
		t.Errorf("apply: %v, %d writes", err, len(s.writes))
	}
	// Behind a topic, the queue that is pulled counts.
	if _, refused = plan(t, s.open(t, pulling(ourTopic, url)), notifications.Install).Refusal(); !refused {
		t.Error("a topic's queue was not looked at")
	}
	apply(t, b, notifications.Remove) // what can't be installed can be removed
}

func TestTrapOtherQueueThanTheOneThatIsPulledIsRefused(t *testing.T) {
	s := newDocumentedS3(t)
	url, _ := newQueue(t, "262144")
	_, arn := newQueue(t, "262144")
	f, refused := plan(t, s.open(t, pulling(arn, url)), notifications.Install).Refusal()
	if !refused || !strings.Contains(f.String(), "make both the same queue") {
		t.Errorf("got %v", f)
	}
}

func TestQueueThatIsNotThereIsRefused(t *testing.T) {
	s := newDocumentedS3(t)
	url, arn := newQueue(t, "262144")
	f, refused := plan(t, s.open(t, pulling(arn, url+"-gone")), notifications.Install).Refusal()
	if !refused || !strings.Contains(f.String(), "is not there") {
		t.Errorf("got %v", f)
	}
}

func TestQueueThatCanNotBeSeenIsAWarning(t *testing.T) {
	s := newDocumentedS3(t)
	b := s.open(t, pulling(ourTopic, "http://127.0.0.1:1/123/q"))
	p := plan(t, b, notifications.Install)
	if _, refused := p.Refusal(); refused || len(p.Findings) != 1 || p.Findings[0].Level != notifications.Warning || !strings.Contains(p.Findings[0].Mend, "sqs:GetQueueAttributes") {
		t.Errorf("got %+v", p.Findings)
	}
}
