package s3

import (
	"fmt"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// ResolveIn is Resolve for the messages that come by way of one store: its bucket, and those that all has at the same
// server, because one queue can be that of many buckets.
func ResolveIn(of Store, all []Store) Resolve {
	known := siblings(of, all)
	return func(bucket string) (Store, bool) {
		s, ok := known[bucket]
		return s, ok
	}
}

// DecodeQueued reads a message that an SQS queue held: what Decode reads, as it is or wrapped by SNS. SNS's signature is
// not looked at: the policy of the queue says who may send to it. With topics, only those may have wrapped a message.
func DecodeQueued(body []byte, topics []string, resolve Resolve) normalize.Message {
	p, shape := parse(body)
	if shape != ShapeSNS {
		return decode(&p, shape, body, resolve)
	}
	m := normalize.Message{Raw: body}
	switch {
	case len(topics) > 0 && !slices.Contains(topics, p.TopicArn):
		reason := fmt.Sprintf("sns topic %q is not one of those that may send", p.TopicArn)
		m.Poison = append(m.Poison, normalize.Poison{Raw: body, ContentType: contentType(body), Reason: reason})
	case p.Type == snsSubscribe || p.Type == snsUnsubscribe: // a queue of another account is confirmed by a person
		m.Ignore("sns confirmation")
	default:
		return Decode([]byte(p.Message), resolve)
	}
	return m
}
