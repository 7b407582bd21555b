package sqs

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// MinMaximumMessageSize is the smallest limit of a queue that loses no notification: a longer one is dropped by whoever
// wants to send it, and nobody is told.
const MinMaximumMessageSize = 64 << 10

// Attributes gets the attributes of queues: *sqs.Client is one.
type Attributes interface {
	GetQueueAttributes(context.Context, *awssqs.GetQueueAttributesInput, ...func(*awssqs.Options)) (*awssqs.GetQueueAttributesOutput, error)
}

// CheckQueue says whether a queue is there, may be read, and keeps the notifications of buckets. Errors: NotFound,
// PermissionDenied, and Invalid for a queue that would lose some, each with the mend; Throttled or Unavailable.
func CheckQueue(ctx context.Context, client Attributes, queueURL string) error {
	out, err := client.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{
		QueueUrl: aws.String(queueURL), AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
	})
	if err != nil {
		return fail("check", queueURL, err)
	}
	if size, err := strconv.Atoi(out.Attributes[string(types.QueueAttributeNameMaximumMessageSize)]); err == nil && size < MinMaximumMessageSize {
		return errkind.New(errkind.Invalid, "check sqs queue %s: its MaximumMessageSize of %d bytes loses notifications: set it to %d or more",
			queueURL, size, MinMaximumMessageSize)
	}
	if out.Attributes[string(types.QueueAttributeNameKmsMasterKeyId)] == "alias/aws/sqs" {
		return errkind.New(errkind.Invalid, "check sqs queue %s: it is encrypted with the key alias/aws/sqs, which S3 may not use: "+
			"encrypt it with SQS's own keys (SqsManagedSseEnabled) or with a key whose policy lets s3.amazonaws.com in", queueURL)
	}
	return nil
}

// fail gives an SDK error its kind and the mend.
func fail(doing, queueURL string, err error) error {
	kind, mend := kindOf(err), ""
	switch kind {
	case errkind.NotFound:
		mend = ": make the queue, or correct notifications.pull"
	case errkind.PermissionDenied:
		mend = ": check the credentials and their policy (sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes)"
	}
	return errkind.New(kind, "%s sqs queue %s%s: %w", doing, queueURL, mend, err)
}

// byCode holds the codes whose status would mislead; with the JSON protocol nearly all of them are 400.
var byCode = map[string]errkind.Kind{
	"QueueDoesNotExist":           errkind.NotFound,
	"NonExistentQueue":            errkind.NotFound,
	"InvalidAddress":              errkind.NotFound,
	"AccessDenied":                errkind.PermissionDenied,
	"AccessDeniedException":       errkind.PermissionDenied,
	"InvalidClientTokenId":        errkind.PermissionDenied,
	"UnrecognizedClientException": errkind.PermissionDenied,
	"InvalidAccessKeyId":          errkind.PermissionDenied,
	"InvalidSecurity":             errkind.PermissionDenied,
	"SignatureDoesNotMatch":       errkind.PermissionDenied,
	"InvalidSignatureException":   errkind.PermissionDenied,
	"IncompleteSignature":         errkind.PermissionDenied,
	"MissingAuthenticationToken":  errkind.PermissionDenied,
	"ExpiredToken":                errkind.PermissionDenied,
	"ExpiredTokenException":       errkind.PermissionDenied,
	"OptInRequired":               errkind.PermissionDenied,
	"KmsAccessDenied":             errkind.PermissionDenied,
	"RequestThrottled":            errkind.Throttled,
	"Throttling":                  errkind.Throttled,
	"ThrottlingException":         errkind.Throttled,
	"KmsThrottled":                errkind.Throttled,
	"OverLimit":                   errkind.Throttled, // 120,000 messages in flight
	"ReceiptHandleIsInvalid":      errkind.Conflict,  // somebody else has the message by now
	"MessageNotInflight":          errkind.Conflict,
	"RequestExpired":              errkind.Unavailable,
}

func kindOf(err error) errkind.Kind {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		if k := errkind.Of(err); k != errkind.Unknown {
			return k
		}
		return errkind.Unavailable // nobody answered
	}
	code := api.ErrorCode()
	if kind, ok := byCode[code[strings.LastIndex(code, ".")+1:]]; ok { // AWS.SimpleQueueService.NonExistentQueue
		return kind
	}
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.Response != nil && resp.Response.Response != nil {
		switch status := resp.HTTPStatusCode(); {
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return errkind.PermissionDenied
		case status == http.StatusTooManyRequests:
			return errkind.Throttled
		case status >= 400 && status < 500:
			return errkind.Invalid
		}
		return errkind.Unavailable
	}
	if api.ErrorFault() == smithy.FaultClient {
		return errkind.Invalid
	}
	return errkind.Unavailable
}
