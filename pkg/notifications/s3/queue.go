package s3

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// minMessage is the smallest MaximumMessageSize of a queue that loses no event: one record has a key of up to 1,024
// bytes, three times that form-encoded, and EventBridge and SNS wrap it.
const minMessage = 64 << 10

// checkQueues looks at the queue that the bucket notifies and at the one that is pulled.
func (b *Bucket) checkQueues(ctx context.Context) []notifications.Finding {
	n := b.cfg.Replica.Notifications
	var found []notifications.Finding
	target := ""
	if b.want != nil && b.want.kind == queue && strings.HasPrefix(n.Target, "arn:aws") {
		target = n.Target
	}
	var pulled string
	if n.Pull != "" {
		region := b.cfg.Replica.Region
		if arn := strings.Split(target, ":"); len(arn) > 3 {
			region = arn[3]
		}
		var f []notifications.Finding
		pulled, f = b.checkQueue(ctx, "notifications.pull", n.Pull, b.queues(regionOf(n.Pull, region), n.Pull))
		found = append(found, f...)
	}
	switch {
	case target != "" && pulled != "" && pulled != target:
		found = append(found, refused("notifications.pull", fmt.Sprintf("%s is the queue %s, and the bucket is to notify %s", n.Pull, pulled, target),
			"make both the same queue"))
	case target != "" && pulled == "" && n.Pull == "":
		found = append(found, b.checkTarget(ctx, target)...)
	}
	return found
}

// checkTarget looks at a queue that is known by its ARN.
func (b *Bucket) checkTarget(ctx context.Context, arn string) []notifications.Finding {
	part := strings.Split(arn, ":")
	client := b.queues(part[3], b.cfg.Replica.Notifications.Pull)
	ctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	in := &sqs.GetQueueUrlInput{QueueName: aws.String(part[5])}
	if part[4] != "" {
		in.QueueOwnerAWSAccountId = aws.String(part[4])
	}
	out, err := client.GetQueueUrl(ctx, in)
	if err != nil {
		return []notifications.Finding{unseen("notifications.target", arn, err)}
	}
	_, found := b.checkQueue(ctx, "notifications.target", aws.ToString(out.QueueUrl), client)
	return found
}

// checkQueue looks at a queue and tells its ARN, "" if it can't be seen.
func (b *Bucket) checkQueue(ctx context.Context, about, queueURL string, client *sqs.Client) (arn string, found []notifications.Finding) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl:       aws.String(queueURL),
		AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	if err != nil {
		return "", []notifications.Finding{unseen(about, queueURL, err)}
	}
	attribute := func(n sqstypes.QueueAttributeName) string { return out.Attributes[string(n)] }
	if size, err := strconv.Atoi(attribute(sqstypes.QueueAttributeNameMaximumMessageSize)); err == nil && size < minMessage {
		found = append(found, refused(about, fmt.Sprintf("the queue takes messages of %d bytes at most: larger events are lost", size),
			fmt.Sprintf("set its MaximumMessageSize to %d or more", minMessage)))
	}
	if attribute(sqstypes.QueueAttributeNameRedrivePolicy) == "" {
		found = append(found, notifications.Finding{
			Level: notifications.Advice, About: about, Text: "the queue has no dead-letter queue",
			Mend: "a redrive policy keeps messages that nobody could work on, instead of having them tried until they expire",
		})
	}
	return attribute(sqstypes.QueueAttributeNameQueueArn), found
}

// unseen is about a queue that could not be looked at. One that is not there is refused; what the credentials may not see
// can be right all the same.
func unseen(about, queue string, err error) notifications.Finding {
	if kindOf(err) == errkind.NotFound || strings.Contains(err.Error(), "NonExistentQueue") || strings.Contains(err.Error(), "QueueDoesNotExist") {
		return refused(about, fmt.Sprintf("the queue %s is not there", queue), "create it, or correct the name")
	}
	return notifications.Finding{
		Level: notifications.Warning, About: about, Text: fmt.Sprintf("the queue %s could not be looked at: %v", queue, err),
		Mend: "to have its settings checked, allow sqs:GetQueueUrl and sqs:GetQueueAttributes",
	}
}

func refused(about, text, mend string) notifications.Finding {
	return notifications.Finding{Level: notifications.Refused, About: about, Text: text, Mend: mend}
}

// regionOf a queue: Amazon's URLs are https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.
func regionOf(queueURL, fallback string) string {
	u, err := url.Parse(queueURL)
	if err != nil || !amazon(u.Hostname()) {
		return fallback
	}
	if part := strings.Split(u.Hostname(), "."); len(part) > 3 && part[0] == "sqs" {
		return part[1]
	}
	return fallback
}
