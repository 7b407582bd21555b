package s3_test

import (
	"encoding/json"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

func queued(t *testing.T, topics []string, body string) normalize.Message {
	t.Helper()
	st := s3.Store{Dialect: s3.AWS}
	st.Name, st.Source, st.Server, st.Bucket = "a", "https://s3.example/b", "x", "b"
	return s3.DecodeQueued([]byte(body), topics, s3.ResolveIn(st, []s3.Store{st}))
}

func envelope(t *testing.T, typ, topic, message string) string {
	t.Helper()
	b, err := json.Marshal(map[string]string{"Type": typ, "TopicArn": topic, "Message": message, "MessageId": "1", "Token": "t"})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const queuedRecord = `{"Records":[{"eventVersion":"2.1","eventTime":"2026-11-20T18:00:00.000Z","eventName":"ObjectCreated:Put",` +
	`"s3":{"bucket":{"name":"b"},"object":{"key":"a+b%2Bc","size":1,"eTag":"e","sequencer":"0055AED6DCD90281E5"}}}]}`

func TestQueuedMessagesComeAsTheyAreOrWrappedBySNS(t *testing.T) {
	const topic = "arn:aws:sns:eu-central-1:1:t"
	plain := queued(t, nil, queuedRecord)
	if len(plain.Changes) != 1 || key(t, plain.Changes[0]) != "a b+c" {
		t.Fatalf("%+v", plain)
	}
	for name, topics := range map[string][]string{"any topic": nil, "a listed topic": {"arn:other", topic}} {
		m := queued(t, topics, envelope(t, "Notification", topic, queuedRecord))
		if len(m.Changes) != 1 || toEvent(t, m.Changes[0]).ID() != toEvent(t, plain.Changes[0]).ID() {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestTrapQueuedSNSMessagesOfForeignTopicsAreDeadLetters(t *testing.T) {
	m := queued(t, []string{"arn:aws:sns:eu-central-1:1:ours"}, envelope(t, "Notification", "arn:aws:sns:eu-central-1:1:theirs", queuedRecord))
	if len(m.Changes) != 0 || len(m.Poison) != 1 {
		t.Errorf("%+v", m)
	}
}

func TestTrapQueuedConfirmationsAndTestsArePassedOver(t *testing.T) {
	const topic = "arn:aws:sns:eu-central-1:1:t"
	for _, body := range []string{
		envelope(t, "SubscriptionConfirmation", topic, "visit"), envelope(t, "UnsubscribeConfirmation", topic, "gone"),
		`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`,
		envelope(t, "Notification", topic, `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`),
	} {
		if m := queued(t, nil, body); len(m.Changes) != 0 || len(m.Poison) != 0 || len(m.Ignored) != 1 {
			t.Errorf("%s: %+v", body, m)
		}
	}
	if m := queued(t, nil, envelope(t, "Notification", topic, envelope(t, "Notification", topic, queuedRecord))); len(m.Poison) != 1 {
		t.Errorf("an envelope in an envelope: %+v", m)
	}
}
