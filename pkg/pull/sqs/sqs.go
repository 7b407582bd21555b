// Package sqs is an Amazon SQS queue as a source of the puller: long polls, deletes in batches, and a check that the queue
// can hold what buckets send to it.
//
// Errors: kinds of package errkind, with the mend: NotFound for a queue that is not there, PermissionDenied for
// credentials that are not right, Invalid for a queue or a URL that can't work, Throttled and Unavailable for what passes.
//
// Concurrency: as package queue says. CheckQueue may be called from many goroutines.
package sqs

import (
	"context"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
)

// Config of New.
type Config struct {
	URL         string // of the queue; its host is where requests go
	Region      string // if the URL names none
	AccessKeyID string // with SecretAccessKey; "" is AWS's own credential chain

	SecretAccessKey string
	Limits          queue.Limits // with defaults
}

// Source is a queue. Make one with New.
type Source struct {
	queue.Poller

	url    string
	client *awssqs.Client
	acks   *batcher
	creds  aws.CredentialsProvider
	limits queue.Limits
}

const (
	batch      = 10      // messages of one request
	maxMessage = 1 << 20 // bytes of the largest message that SQS takes
)

// New makes a source. It sends no request.
func New(ctx context.Context, c Config) (*Source, error) {
	endpoint, region, err := Endpoint(c.URL, c.Region)
	if err != nil {
		return nil, err
	}
	options := []func(*config.LoadOptions) error{config.WithRegion(region)}
	if c.AccessKeyID != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, "")))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "open sqs queue: load AWS's configuration: %w", err)
	}
	client := awssqs.NewFromConfig(loaded, func(o *awssqs.Options) { o.BaseEndpoint = aws.String(endpoint) })
	s := &Source{url: c.URL, client: client, creds: loaded.Credentials, limits: c.Limits}
	s.acks = newBatcher(func(ctx context.Context, entries []types.DeleteMessageBatchRequestEntry) (*awssqs.DeleteMessageBatchOutput, error) {
		return client.DeleteMessageBatch(ctx, &awssqs.DeleteMessageBatchInput{QueueUrl: aws.String(c.URL), Entries: entries})
	}, c.Limits.Request)
	s.Poller = queue.Poller{Client: s, Limits: c.Limits, Batch: batch, Size: maxMessage}
	return s, nil
}

var amazonHost = regexp.MustCompile(`^(?:sqs(?:-fips)?\.([a-z0-9-]+)|([a-z0-9-]+)\.queue|vpce-[a-z0-9-]+\.sqs\.([a-z0-9-]+)\.vpce)\.amazonaws\.com(?:\.cn)?$`)

// Endpoint is where the requests to a queue go, and its region: that of the URL if there is one in it, else the given one.
// Errors: Invalid.
func Endpoint(queueURL, region string) (string, string, error) {
	u, err := url.Parse(queueURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(u.Path) < 2 {
		return "", "", errkind.New(errkind.Invalid, "open sqs queue: notifications.pull is not the URL of a queue: "+
			"write https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE")
	}
	if m := amazonHost.FindStringSubmatch(u.Hostname()); m != nil {
		region = m[1] + m[2] + m[3] // one of them
	}
	if region == "" {
		return "", "", errkind.New(errkind.Invalid, "open sqs queue %s: neither the URL nor the replica names a region: add region= to the URL of the replica", queueURL)
	}
	return u.Scheme + "://" + u.Host, region, nil
}

// Check is that of queue.Source.
func (s *Source) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Request)
	defer cancel()
	if _, err := s.creds.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return errkind.New(errkind.Unavailable, "check sqs queue %s: get credentials: %w", s.url, err)
		}
		return errkind.New(errkind.PermissionDenied, "check sqs queue %s: no credentials: name some with credentials= in the URL of the replica, "+
			"or set up AWS's own chain: %w", s.url, err)
	}
	return CheckQueue(ctx, s.client, s.url)
}

// Fetch is that of queue.Client.
func (s *Source) Fetch(ctx context.Context, limit int) ([]queue.Delivery, error) {
	out, err := s.client.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{
		QueueUrl: aws.String(s.url), MaxNumberOfMessages: int32(min(limit, batch)),
		VisibilityTimeout: seconds(s.limits.Visibility), WaitTimeSeconds: seconds(s.limits.Wait),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp},
	})
	if err != nil {
		return nil, fail("receive messages of", s.url, err)
	}
	found := make([]queue.Delivery, 0, len(out.Messages))
	for _, m := range out.Messages {
		d := queue.Delivery{Receipt: aws.ToString(m.ReceiptHandle)}
		d.ID, d.Body = aws.ToString(m.MessageId), []byte(aws.ToString(m.Body))
		// Both are numbers where they are there at all.
		d.Deliveries, _ = strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
		if ms, err := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
			d.Sent = time.UnixMilli(ms)
		}
		found = append(found, d)
	}
	return found, nil
}

// Ack is that of queue.Client.
func (s *Source) Ack(ctx context.Context, d queue.Delivery) error {
	if err := s.acks.delete(ctx, d.Receipt); err != nil {
		return fail("delete message of", s.url, err)
	}
	return nil
}

// Release is that of queue.Client.
func (s *Source) Release(ctx context.Context, d queue.Delivery, after time.Duration) error {
	_, err := s.client.ChangeMessageVisibility(ctx, &awssqs.ChangeMessageVisibilityInput{
		QueueUrl: aws.String(s.url), ReceiptHandle: aws.String(d.Receipt), VisibilityTimeout: seconds(after),
	})
	if err != nil {
		return fail("release message of", s.url, err)
	}
	return nil
}

// Close is that of queue.Source.
func (s *Source) Close() error { return nil }

// seconds are those of d, rounded up.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }
