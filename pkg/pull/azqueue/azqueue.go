// Package azqueue is a queue of Azure's Queue Storage as a source of the puller. Such queues have no long poll: an empty
// one is asked again after a pause that grows to Limits.Idle.
//
// Errors: kinds of package errkind, with the mend: NotFound for a queue that is not there, PermissionDenied for
// credentials that are not right, Invalid for a URL that can't work, Throttled and Unavailable for what passes.
//
// Concurrency: as package queue says.
package azqueue

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	azure "github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

// Config of New.
type Config struct {
	URL        string // of the queue: https://ACCOUNT.queue.core.windows.net/QUEUE, or http://HOST:PORT/ACCOUNT/QUEUE
	Account    string // that AccountKey belongs to
	AccountKey string // base64; "" is azidentity's default chain (environment, workload identity, managed identity, az login)
	Limits     queue.Limits
}

// Source is a queue. Make one with New.
type Source struct {
	queue.Poller

	url    string
	client *azure.QueueClient
	limits queue.Limits
}

const (
	batch      = 32       // messages of one request
	maxMessage = 64 << 10 // bytes of the largest message that a queue takes

	tries    = 2 // of the SDK, beside the first; the poller has a back-off of its own
	firstTry = 200 * time.Millisecond
	lastTry  = 2 * time.Second
)

// New makes a source. It sends no request.
func New(c Config) (*Source, error) {
	u, err := url.Parse(c.URL)
	// A shared access signature is a secret, and stands in the query: the URL is not repeated then.
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(u.Path) < 2 {
		return nil, errkind.New(errkind.Invalid, "open azure queue: notifications.pull is not the URL of a queue: "+
			"write https://ACCOUNT.queue.core.windows.net/QUEUE, without parameters (the value is not shown)")
	}
	options := &azure.ClientOptions{ClientOptions: policy.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: tries, RetryDelay: firstTry, MaxRetryDelay: lastTry},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}}
	s := &Source{url: c.URL, limits: c.Limits}
	if s.client, err = newClient(c, options); err != nil {
		return nil, err
	}
	s.Poller = queue.Poller{Client: s, Limits: c.Limits, Batch: batch, Size: maxMessage}
	return s, nil
}

func newClient(c Config, options *azure.ClientOptions) (client *azure.QueueClient, err error) {
	if c.AccountKey != "" {
		key, bad := azure.NewSharedKeyCredential(c.Account, c.AccountKey)
		if bad != nil { // the error may repeat the key
			return nil, errkind.New(errkind.Invalid, "open azure queue %s: the account key is not base64", c.URL)
		}
		client, err = azure.NewQueueClientWithSharedKeyCredential(c.URL, key, options)
	} else {
		token, bad := azidentity.NewDefaultAzureCredential(nil)
		if bad != nil {
			return nil, errkind.New(errkind.PermissionDenied, "open azure queue %s: find credentials: %w", c.URL, bad)
		}
		client, err = azure.NewQueueClient(c.URL, token, options)
	}
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "open azure queue %s: %w", c.URL, err)
	}
	return client, nil
}

// Check is that of queue.Source.
func (s *Source) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Request)
	defer cancel()
	if _, err := s.client.GetProperties(ctx, nil); err != nil {
		return fail("check", s.url, err)
	}
	return nil
}

// Fetch is that of queue.Client.
func (s *Source) Fetch(ctx context.Context, limit int) ([]queue.Delivery, error) {
	out, err := s.client.DequeueMessages(ctx, &azure.DequeueMessagesOptions{
		NumberOfMessages: new(int32(min(limit, batch))), VisibilityTimeout: seconds(s.limits.Visibility)})
	if err != nil {
		return nil, fail("dequeue messages of", s.url, err)
	}
	found := make([]queue.Delivery, 0, len(out.Messages))
	for _, m := range out.Messages {
		if m == nil || m.MessageID == nil || m.PopReceipt == nil || m.MessageText == nil {
			return nil, errkind.New(errkind.Unavailable, "dequeue messages of azure queue %s: the answer lacks what every message has", s.url)
		}
		d := queue.Delivery{Receipt: *m.PopReceipt}
		d.ID, d.Body = *m.MessageID, []byte(*m.MessageText)
		if m.InsertionTime != nil {
			d.Sent = *m.InsertionTime
		}
		if m.DequeueCount != nil {
			d.Deliveries = int(*m.DequeueCount)
		}
		found = append(found, d)
	}
	return found, nil
}

// Ack is that of queue.Client.
func (s *Source) Ack(ctx context.Context, d queue.Delivery) error {
	if _, err := s.client.DeleteMessage(ctx, d.ID, d.Receipt, nil); err != nil {
		return fail("delete message of", s.url, err)
	}
	return nil
}

// Release is that of queue.Client. An update writes the text as well, so it is the one that came.
func (s *Source) Release(ctx context.Context, d queue.Delivery, after time.Duration) error {
	_, err := s.client.UpdateMessage(ctx, d.ID, d.Receipt, string(d.Body), &azure.UpdateMessageOptions{VisibilityTimeout: seconds(after)})
	if err != nil {
		return fail("release message of", s.url, err)
	}
	return nil
}

// Close is that of queue.Source.
func (s *Source) Close() error { return nil }

// seconds are those of d, rounded up.
func seconds(d time.Duration) *int32 { return new(int32((d + time.Second - 1) / time.Second)) }

// fail gives an SDK error its kind and the mend. The text is our own: the SDK's repeats the whole answer.
func fail(doing, queueURL string, err error) error {
	kind, mend := kindOf(err), ""
	switch kind {
	case errkind.NotFound:
		mend = ": make the queue, or correct notifications.pull"
	case errkind.PermissionDenied:
		mend = ": check the credentials and their role (Storage Queue Data Message Processor and Storage Queue Data Reader, on the queue)"
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return errkind.New(kind, "%s azure queue %s%s: status %d %s", doing, queueURL, mend, answer.StatusCode, answer.ErrorCode)
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	if errkind.Of(err) != errkind.Unknown {
		return errkind.New(kind, "%s azure queue %s%s: %w", doing, queueURL, mend, err)
	}
	return errkind.New(kind, "%s azure queue %s%s: %s", doing, queueURL, mend, line)
}

func kindOf(err error) errkind.Kind {
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		if _, refused := errors.AsType[*azidentity.AuthenticationFailedError](err); refused {
			return errkind.PermissionDenied
		}
		if k := errkind.Of(err); k != errkind.Unknown {
			return k
		}
		return errkind.Unavailable // nobody answered
	}
	switch answer.ErrorCode {
	case "QueueNotFound":
		return errkind.NotFound
	case "MessageNotFound", "PopReceiptMismatch":
		return errkind.Conflict // somebody else has the message by now
	case "ServerBusy":
		return errkind.Throttled
	case "QueueBeingDeleted", "OperationTimedOut", "InternalError":
		return errkind.Unavailable
	}
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return errkind.PermissionDenied
	case status == http.StatusNotFound:
		return errkind.NotFound
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return errkind.Throttled
	case status == http.StatusRequestTimeout || status >= http.StatusInternalServerError:
		return errkind.Unavailable
	}
	return errkind.Invalid
}
