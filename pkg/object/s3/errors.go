package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/keypath"
)

// fail gives an SDK error its kind. The SDK's message names the operation, the status, the code and the request id.
func (s *shared) fail(err error) error {
	if err == nil {
		s.alive.Seen()
		return nil
	}
	return errkind.New(kindOf(err), "%w", err)
}

// failWrite is fail for a write: a conditional write on a missing key answers 404, which is a failed precondition.
func (s *shared) failWrite(err error, conditional bool) error {
	if err != nil && conditional && code(err) == "NoSuchKey" {
		return errkind.New(errkind.PreconditionFailed, "%w", err)
	}
	return s.fail(err)
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func status(err error) int {
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.Response != nil && resp.Response.Response != nil {
		return resp.HTTPStatusCode()
	}
	return 0
}

// byCode holds the S3 error codes whose HTTP status would mislead. (A 200 that carries an error has no status to go by
// at all.)
var byCode = map[string]errkind.Kind{
	"NoSuchKey":                    errkind.NotFound,
	"NoSuchVersion":                errkind.NotFound,
	"NoSuchUpload":                 errkind.NotFound,
	"NoSuchBucket":                 errkind.Unavailable, // never a deleted object: see the package documentation
	"PreconditionFailed":           errkind.PreconditionFailed,
	"ConditionalRequestConflict":   errkind.Conflict,
	"OperationAborted":             errkind.Conflict,
	"SlowDown":                     errkind.Throttled,
	"SlowDownRead":                 errkind.Throttled,
	"SlowDownWrite":                errkind.Throttled,
	"Throttling":                   errkind.Throttled,
	"ThrottlingException":          errkind.Throttled,
	"RequestLimitExceeded":         errkind.Throttled,
	"TooManyRequests":              errkind.Throttled,
	"ServiceUnavailable":           errkind.Throttled,
	"InternalError":                errkind.Unavailable,
	"RequestTimeout":               errkind.Unavailable, // a 400
	"IncompleteBody":               errkind.Unavailable, // a 400: the connection broke while we sent
	"AccessDenied":                 errkind.PermissionDenied,
	"AllAccessDisabled":            errkind.PermissionDenied,
	"ExpiredToken":                 errkind.PermissionDenied, // a 400
	"InvalidToken":                 errkind.PermissionDenied, // a 400
	"InvalidAccessKeyId":           errkind.PermissionDenied,
	"SignatureDoesNotMatch":        errkind.PermissionDenied,
	"AuthorizationHeaderMalformed": errkind.Invalid,     // a wrong region
	"PermanentRedirect":            errkind.Invalid,     // a wrong region
	"InvalidObjectState":           errkind.Unsupported, // archived: somebody has to restore it first
	"NotImplemented":               errkind.Unsupported,
	"ObjectParentIsFile":           errkind.Invalid, // versitygw, a 409: "a" is an object, so "a/b" can't be one
	"ExistingObjectIsDirectory":    errkind.Invalid, // the other way round
	"EntityTooSmall":               errkind.Invalid,
	"InvalidPart":                  errkind.Invalid,
}

func kindOf(err error) errkind.Kind {
	// A context that ended says nothing about what the server did; errkind knows the two ways it can end.
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errkind.Of(err)
	}
	if k, ok := byCode[code(err)]; ok {
		return k
	}
	switch st := status(err); {
	case st == http.StatusPreconditionFailed:
		return errkind.PreconditionFailed
	case st == http.StatusForbidden || st == http.StatusUnauthorized:
		return errkind.PermissionDenied
	case st == http.StatusNotFound:
		return errkind.Unavailable // 404 without a code that we know is nobody's explicit "the object is not there"
	case st == http.StatusConflict:
		return errkind.Conflict
	case st == http.StatusTooManyRequests:
		return errkind.Throttled
	case st == http.StatusRequestTimeout || st == http.StatusServiceUnavailable:
		return errkind.Unavailable // a 503 without a code may be a proxy's that lost the answer, and a write may have happened
	case st == http.StatusMethodNotAllowed || st == http.StatusNotImplemented:
		return errkind.Unsupported
	case st >= 300 && st < 500:
		return errkind.Invalid
	case st >= 500:
		return errkind.Unavailable
	}
	if _, ok := errors.AsType[*smithy.InvalidParamsError](err); ok {
		return errkind.Invalid
	}
	return errkind.Unavailable // no answer at all
}

// badKey explains the refusal of a key. A server that keeps objects as files says "Bad Request" and no more.
func badKey(key string, err error) error {
	if !errkind.Is(err, errkind.Invalid) || !keypath.Unclean(key) {
		return err
	}
	return driver.RefuseKey("the server can't hold the key %q, which has an empty, \".\" or \"..\" part: it keeps objects as files; "+
		"rename the object: %v", key, err)
}

// missing makes an error of a HEAD's 404, which has no body to say whether the key is missing or the whole bucket.
func (s *shared) missing(ctx context.Context, cause error) error {
	if err := s.alive.Check(ctx, s.askForBucket); err != nil {
		return err //nolint:wrapcheck // of askForBucket
	}
	return errkind.New(errkind.NotFound, "%w", cause)
}

func (s *shared) askForBucket(ctx context.Context) error {
	ctx, cancel := s.request(ctx, 0)
	defer cancel()
	_, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String(s.cfg.Bucket)})
	switch {
	case err == nil:
		return nil
	case status(err) == http.StatusNotFound:
		return errkind.New(errkind.Unavailable, "the bucket %q is not there: %w", s.cfg.Bucket, err)
	}
	return errkind.New(kindOf(err), "check that the bucket is there: %w", err)
}

// unquote takes the quotes off an ETag.
func unquote(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

// quote puts them on: S3 takes both forms, RFC 9110 only this one.
func quote(etag string) *string {
	if etag == "" {
		return nil
	}
	return aws.String(`"` + etag + `"`)
}
