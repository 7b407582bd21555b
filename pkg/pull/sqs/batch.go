package sqs

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// batcher deletes messages, those that wait together with one request. Nobody waits for others to come: a batch is what
// came while the request before it was under way.
type batcher struct {
	send    func(context.Context, []types.DeleteMessageBatchRequestEntry) (*awssqs.DeleteMessageBatchOutput, error)
	timeout time.Duration
	waiting chan deletion
	sending chan struct{} // held by the one who sends
}

type deletion struct {
	receipt string
	done    chan error // has room for the answer
}

func newBatcher(send func(context.Context, []types.DeleteMessageBatchRequestEntry) (*awssqs.DeleteMessageBatchOutput, error), timeout time.Duration) *batcher {
	return &batcher{send: send, timeout: timeout, waiting: make(chan deletion, batch), sending: make(chan struct{}, 1)}
}

// delete returns when the message is deleted, or is not: the message comes again then.
func (b *batcher) delete(ctx context.Context, receipt string) error {
	own := deletion{receipt: receipt, done: make(chan error, 1)}
	queued := b.waiting
	for {
		select {
		case queued <- own:
			queued = nil // waits for one who sends, maybe for ourselves
		case err := <-own.done:
			return err
		case b.sending <- struct{}{}:
			b.flush(ctx)
			<-b.sending
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flush sends one batch of those who wait, if there are any.
func (b *batcher) flush(ctx context.Context) {
	var all []deletion
	for len(all) < batch {
		select {
		case d := <-b.waiting:
			all = append(all, d)
			continue
		default:
		}
		break
	}
	if len(all) == 0 {
		return
	}
	entries := make([]types.DeleteMessageBatchRequestEntry, len(all))
	for i, d := range all {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(d.receipt)}
	}
	// The others have time of their own left, however little the sender has.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
	defer cancel()
	out, err := b.send(ctx, entries)
	answers := make([]error, len(all))
	for i := range answers {
		if answers[i] = err; err == nil {
			answers[i] = &smithy.GenericAPIError{Code: "Unanswered", Message: "the answer does not say what became of it", Fault: smithy.FaultServer}
		}
	}
	if err == nil {
		for _, ok := range out.Successful {
			answer(answers, ok.Id, nil)
		}
		for _, f := range out.Failed {
			fault := smithy.FaultServer
			if f.SenderFault {
				fault = smithy.FaultClient
			}
			answer(answers, f.Id, &smithy.GenericAPIError{Code: aws.ToString(f.Code), Message: aws.ToString(f.Message), Fault: fault})
		}
	}
	for i, d := range all {
		d.done <- answers[i]
	}
}

// answer notes what became of an entry; an id that nobody asked for is passed over.
func answer(answers []error, id *string, err error) {
	if i, bad := strconv.Atoi(aws.ToString(id)); bad == nil && i >= 0 && i < len(answers) {
		answers[i] = err
	}
}
