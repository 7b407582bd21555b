package pull_test

import (
	"context"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

type nowhere struct{}

func (nowhere) Publish(context.Context, ...cloudevents.Event) error { return nil }

func (nowhere) Store(context.Context, []byte, string, string) error { return nil }

const queueURL = "https://sqs.eu-central-1.amazonaws.com/1/q"

func at(name, provider, bucket, pullFrom string) config.Replica {
	r := config.Replica{Name: name, Provider: provider, Bucket: bucket, Dialect: "aws", Region: "eu-central-1", Account: "acct", Credentials: "Q"}
	r.Notifications.Pull = pullFrom
	return r
}

func newPuller(l queue.Limits, replicas ...config.Replica) (*pull.Puller, error) {
	return pull.New(pull.Config{
		Group: &config.Group{Name: "media", Replicas: replicas}, Sink: nowhere{}, DeadLetters: nowhere{}, Limits: l,
		LookupEnv: func(name string) (string, bool) {
			if strings.HasPrefix(name, "BUCKETMESH_Q_") {
				return "c2VjcmV0", true
			}
			return "", false
		},
	})
}

func TestReplicasShareAQueue(t *testing.T) {
	p, err := newPuller(queue.Limits{}, at("a", "s3", "one", queueURL), at("b", "s3", "two", queueURL), at("c", "s3", "three", ""),
		at("d", "azblob", "box", "https://acct.queue.core.windows.net/q"))
	if err != nil || len(p.Queues()) != 2 {
		t.Fatal(p, err)
	}
	if err := p.Ready(t.Context()); !errkind.Is(err, errkind.Unavailable) || !strings.Contains(err.Error(), queueURL) {
		t.Errorf("before the first answer: %v", err)
	}
}

func TestWithoutAQueueRunWaitsForItsEnd(t *testing.T) {
	p, err := newPuller(queue.Limits{}, at("a", "s3", "one", ""))
	if err != nil || len(p.Queues()) != 0 || p.Ready(t.Context()) != nil {
		t.Fatal(p, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestTrapQueuesThatCanNotBeToldApartAreRefused(t *testing.T) {
	elsewhere := at("b", "s3", "one", queueURL)
	elsewhere.Endpoint = "http://127.0.0.1:9000"
	others := at("b", "s3", "two", queueURL)
	others.Credentials = "OTHERS"
	account := at("b", "azblob", "box", "https://acct.queue.core.windows.net/q")
	account.Account = "another"
	for name, test := range map[string]struct {
		replicas []config.Replica
		says     string
	}{
		"buckets of two servers":       {[]config.Replica{at("a", "s3", "one", queueURL), elsewhere}, "replicas a and b"},
		"containers of two accounts":   {[]config.Replica{at("a", "azblob", "box", account.Notifications.Pull), account}, "replicas a and b"},
		"two credentials":              {[]config.Replica{at("a", "s3", "one", queueURL), others}, "credentials="},
		"two providers":                {[]config.Replica{at("a", "s3", "one", queueURL), at("b", "azblob", "box", queueURL)}, "replicas a and b"},
		"credentials that are not set": {[]config.Replica{others}, "BUCKETMESH_OTHERS_ACCESS_KEY_ID"},
		"a provider without queues":    {[]config.Replica{at("a", "mem", "one", "q")}, "no queues of mem"},
		"a queue that is no URL":       {[]config.Replica{at("a", "s3", "one", "arn:aws:sqs:eu-central-1:1:q")}, "URL of a queue"},
		"a shared access signature":    {[]config.Replica{at("a", "azblob", "box", "https://acct.queue.core.windows.net/q?sig=hidden")}, "without parameters"},
		"a name of no subscription":    {[]config.Replica{at("a", "gcs", "one", "projects/p/topics/t")}, "projects/PROJECT/subscriptions/"},
	} {
		_, err := newPuller(queue.Limits{}, test.replicas...)
		if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTrapAMessageMustStayHiddenForAsLongAsItIsHandled(t *testing.T) {
	for name, l := range map[string]queue.Limits{
		"handled for longer":  {Handle: time.Minute},
		"hidden for less":     {Visibility: 30 * time.Second},
		"half a second":       {Visibility: 60500 * time.Millisecond},
		"longer than a queue": {Visibility: 13 * time.Hour},
		"a long long poll":    {Wait: 21 * time.Second},
		"negative":            {Messages: -1},
		"pauses that shrink":  {Backoff: 2 * time.Minute},
	} {
		if _, err := newPuller(l, at("a", "s3", "one", queueURL)); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
