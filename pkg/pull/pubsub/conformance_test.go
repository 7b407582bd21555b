package pubsub_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/pull/pulltest"
)

const (
	topic        = "projects/p/topics/t"
	subscription = "projects/p/subscriptions/s"
)

// emulator is Google's own fake, behind a proxy that the library connects to.
func emulator(t *testing.T) (*pstest.Server, *pulltest.Proxy) {
	t.Helper()
	s := pstest.NewServer()
	t.Cleanup(func() { s.Close() })
	if _, err := s.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	subscribe(t, s, &pubsubpb.Subscription{Name: subscription})
	proxy := pulltest.NewProxy(t, s.Addr)
	t.Setenv("PUBSUB_EMULATOR_HOST", proxy.Addr)
	return s, proxy
}

func subscribe(t *testing.T, s *pstest.Server, sub *pubsubpb.Subscription) {
	t.Helper()
	sub.Topic, sub.AckDeadlineSeconds = topic, 10
	if _, err := s.GServer.CreateSubscription(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
}

func replica(pull string) config.Replica {
	r := config.Replica{Name: "r", Provider: "gcs", Bucket: "b"}
	r.Notifications.Pull = pull
	return r
}

// finalize is what Cloud Storage publishes, with and without the object's resource.
func finalize(t *testing.T, key string, payload bool) pulltest.Message {
	t.Helper()
	m := pulltest.Message{Attributes: map[string]string{
		"eventType": "OBJECT_FINALIZE", "bucketId": "b", "objectId": key, "objectGeneration": "1763661600000000", "payloadFormat": "NONE",
		"eventTime": "2026-11-20T18:00:00.000000Z", "notificationConfig": "projects/_/buckets/b/notificationConfigs/1",
	}}
	if !payload {
		return m
	}
	m.Attributes["payloadFormat"] = "JSON_API_V1"
	var err error
	if m.Body, err = json.Marshal(map[string]any{
		"kind": "storage#object", "name": key, "bucket": "b", "generation": "1763661600000000", "metageneration": "1", "size": "5",
		"contentType": "text/plain", "etag": "CJ==", "md5Hash": "XrY7u+Ae7tCTyyK7j1rNww==", "timeCreated": "2026-11-20T18:00:00.000Z",
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

func target(t *testing.T, payload bool) pulltest.Target {
	t.Helper()
	s, proxy := emulator(t)
	return pulltest.Target{
		Replica: replica(subscription), Proxy: proxy, Missing: replica(subscription + "-missing"),
		Send: func(t *testing.T, m pulltest.Message) { s.Publish(topic, m.Body, m.Attributes) },
		Empty: func(*testing.T) bool {
			for _, m := range s.Messages() {
				if m.Acks == 0 {
					return false
				}
			}
			return true
		},
		// The library extends deadlines on its own, and an extension that is on its way can follow what gives a message back: then
		// it comes again with its deadline all the same.
		Returned: func(*testing.T) bool {
			for _, m := range s.Messages() {
				for _, a := range m.Modacks {
					if a.AckDeadline == 0 {
						return true
					}
				}
			}
			return false
		},
		Written: func(key string) pulltest.Message { return finalize(t, key, payload) },
		Poison:  pulltest.Message{Body: []byte(`{"what":"is this"}`)},
	}
}

func TestConformance(t *testing.T) {
	pulltest.Run(t, func(t *testing.T) pulltest.Target { return target(t, true) })
}

func TestTrapKeysRoundTripWithAndWithoutPayload(t *testing.T) {
	for _, payload := range []bool{true, false} {
		t.Run(strconv.FormatBool(payload), func(t *testing.T) { pulltest.KeysRoundTrip(t, target(t, payload)) })
	}
}
