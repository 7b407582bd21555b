package s3

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// fail gives an SDK error its kind; permission is what a refused caller needs.
func (b *Bucket) fail(doing, permission string, err error) error {
	kind := kindOf(err)
	switch kind {
	case errkind.PermissionDenied:
		return errkind.New(kind, "%s: %w; the credentials need %s", doing, err, permission)
	case errkind.Unsupported:
		return errkind.New(kind, "%s: %w; the server has no notifications of a bucket", doing, err)
	}
	return errkind.New(kind, "%s: %w", doing, err)
}

// failWrite explains why a configuration was not taken.
func (b *Bucket) failWrite(err error, before *types.NotificationConfiguration) error {
	const doing = "write the notification configuration"
	text := ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		text = strings.ToLower(api.ErrorMessage())
	}
	switch {
	case b.want == nil:
	case strings.Contains(text, "overlap") || strings.Contains(text, "ambiguously"):
		var names []string
		for _, r := range rules(before) {
			if r.id != b.cfg.ID && r.overlaps(*b.want) {
				names = append(names, r.name()+" ("+r.arn+")")
			}
		}
		return errkind.New(errkind.Invalid, "%s: S3 takes one entry for the same events and prefix only, and this one is somebody else's: %s; have it "+
			"notify an SNS topic and subscribe both receivers to it, or use notifications.target: eventbridge (%w)", doing, strings.Join(names, ", "), err)
	case strings.Contains(text, "destination configurations") || strings.Contains(text, "destination arn") || strings.Contains(text, "arn"):
		return errkind.New(errkind.Invalid, "%s: the target %s was refused: it must exist, in the bucket's region, and its access policy must allow it to "+
			"%s (docs/notifications.md has the policy); if it is encrypted with a KMS key, the key's policy, too (%w)",
			doing, b.want.arn, map[string]string{queue: "be sent to (sqs:SendMessage) by s3.amazonaws.com", topic: "be published to (sns:Publish) by s3.amazonaws.com"}[b.want.kind], err)
	}
	return b.fail(doing, "s3:PutBucketNotification", err)
}

// kinds of error codes whose HTTP status would mislead.
var kinds = map[string]errkind.Kind{
	"AuthorizationHeaderMalformed":            errkind.Invalid, // a wrong region
	"PermanentRedirect":                       errkind.Invalid, // a wrong region
	"ExpiredToken":                            errkind.PermissionDenied,
	"InvalidToken":                            errkind.PermissionDenied,
	"OperationAborted":                        errkind.Conflict,
	"SlowDown":                                errkind.Throttled,
	"AWS.SimpleQueueService.NonExistentQueue": errkind.NotFound,
	"QueueDoesNotExist":                       errkind.NotFound,
	"AccessDenied":                            errkind.PermissionDenied,
	"AccessDeniedException":                   errkind.PermissionDenied,
	"InvalidClientTokenId":                    errkind.PermissionDenied,
	"UnrecognizedClientException":             errkind.PermissionDenied,
}

func kindOf(err error) errkind.Kind {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errkind.Of(err)
	}
	if kind := errkind.Of(err); kind != errkind.Unknown {
		return kind
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if k, ok := kinds[api.ErrorCode()]; ok {
			return k
		}
	}
	status := 0
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.Response != nil && resp.Response.Response != nil {
		status = resp.HTTPStatusCode()
	}
	switch {
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return errkind.PermissionDenied
	case status == http.StatusNotFound:
		return errkind.NotFound
	case status == http.StatusConflict:
		return errkind.Conflict
	case slices.Contains([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}, status):
		return errkind.Throttled
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		return errkind.Unsupported
	case status >= 300 && status < 500:
		return errkind.Invalid
	}
	return errkind.Unavailable
}
