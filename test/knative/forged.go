package knative

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// notification is what MinIO says of a put. Its key is nobody's, so that a look at the bucket finds nothing.
func notification(key string) []byte {
	tag := strings.ToLower(rand.Text())
	return fmt.Appendf(nil, `{"EventName":"s3:ObjectCreated:Put","Key":"%[1]s/%[2]s","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"",`+
		`"eventTime":"%[3]s","eventName":"s3:ObjectCreated:Put","userIdentity":{"principalId":"forger"},`+
		`"requestParameters":{"principalId":"forger","region":"","sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-request-id":"%[4]s"},`+
		`"s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"%[1]s","ownerIdentity":{"principalId":"forger"},"arn":"arn:aws:s3:::%[1]s"},`+
		`"object":{"key":"%[2]s","size":1,"eTag":"%[4]s","contentType":"text/plain","sequencer":"%016[5]X"}},"source":{"host":"127.0.0.1"}}]}`,
		group, key, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), tag, time.Now().UnixNano())
}

// notify posts a notification to the normalizer and says the status. proof "" is none.
func (w *world) notify(ctx context.Context, key, proof string) (int, error) {
	header := http.Header{"Content-Type": {"application/json"}}
	if proof != "" {
		header.Set("Authorization", proof)
	}
	return w.post(ctx, w.normalizer+"/s3/"+w.fleet.names[0], notification(key), header)
}

func forged(ctx context.Context, w *world, r *Result) error {
	for _, forger := range []struct{ name, proof string }{{"none", ""}, {"wrong", "Bearer " + w.token + "x"}, {"scheme", "Basic Og=="}} {
		name := forger.name
		status, err := w.notify(ctx, "forged-"+name, forger.proof)
		if err != nil {
			return err
		}
		r.fact(name, status)
		if status != http.StatusUnauthorized && status != http.StatusForbidden {
			return fmt.Errorf("with the proof %q a sender is answered %d", name, status)
		}
	}
	// The same with the right one is taken: it was the proof that was refused, not the message.
	status, err := w.notify(ctx, "true", "Bearer "+w.token)
	if err != nil {
		return err
	}
	r.fact("right", status)
	if status/100 != 2 {
		return fmt.Errorf("a sender with the right proof is answered %d", status)
	}
	return poll(ctx, w.within, 100*time.Millisecond, "the true one is in the audit log", func(ctx context.Context) (bool, error) {
		all, err := w.entries(ctx)
		found := false
		for _, e := range all {
			if strings.HasPrefix(e.Subject, "forged-") {
				return false, fmt.Errorf("a forged notification became the event %s of %s", e.Type, e.Subject)
			}
			found = found || e.Subject == "true"
		}
		return found, err
	})
}
