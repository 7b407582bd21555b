package gcsserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"github.com/cenkalti/backoff/v5"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Bounds of pushes.
const (
	streams      = 16 // the fake hands each of them one message in 10 ms
	pushesAtOnce = 32
	pushTimeout  = 30 * time.Second // of one request
	pushFor      = 45 * time.Second // attempts for one message; then it is given back, and comes again
	maxAnswer    = 1 << 20          // bytes
)

// envelope is a wrapped push of Pub/Sub, as documented.
type envelope struct {
	Message      message `json:"message"`
	Subscription string  `json:"subscription"`
}

type message struct {
	Attributes  map[string]string `json:"attributes,omitempty"`
	Data        []byte            `json:"data,omitempty"` // base64
	MessageID   string            `json:"messageId"`
	PublishTime time.Time         `json:"publishTime"`
}

// push is Push of the child's own subscription.
func push(ctx context.Context, webhook string) error {
	client, err := pubsub.NewClient(ctx, project)
	if err != nil {
		return fmt.Errorf("open pub/sub: %w", err)
	}
	if err := Push(ctx, client.Subscriber(subscription), webhook); err != nil {
		return err
	}
	return client.Close() //nolint:wrapcheck // ctx ended: all is told
}

// Push stands in for Pub/Sub's push until ctx ends: it takes messages out of a subscription, posts them to the webhook, and
// acknowledges those that are answered with 2xx. All others are tried again.
func Push(ctx context.Context, from *pubsub.Subscriber, webhook string) error {
	to := &http.Client{Timeout: pushTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: pushesAtOnce}}
	from.ReceiveSettings.MaxOutstandingMessages = pushesAtOnce
	from.ReceiveSettings.NumGoroutines = streams
	err := from.Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
		body, err := json.Marshal(envelope{
			Message:      message{Attributes: m.Attributes, Data: m.Data, MessageID: m.ID, PublishTime: m.PublishTime},
			Subscription: from.String(),
		})
		if err == nil {
			_, err = backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, post(ctx, to, webhook, body) },
				backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxElapsedTime(pushFor))
		}
		if err != nil {
			m.Nack()
			return
		}
		m.Ack()
	})
	if err != nil {
		return fmt.Errorf("take messages out of pub/sub: %w", err)
	}
	return nil
}

func post(ctx context.Context, client *http.Client, webhook string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, webhook, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(err) //nolint:wrapcheck // marks it only
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("push: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // so that the connection is used again
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return errkind.New(errkind.Unavailable, "push: the webhook answered %s", res.Status)
	}
	return nil
}
