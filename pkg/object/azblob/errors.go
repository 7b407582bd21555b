package azblob

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

const (
	// leaseDelay is when to look again at a blob that somebody holds a lease on; leases last 15 to 60 s, or until they are released.
	leaseDelay = 15 * time.Second
	// maxRetryAfter bounds what a server can ask for.
	maxRetryAfter = 10 * time.Minute
)

// meaning is what an error code says, where its HTTP status would mislead.
type meaning struct {
	kind errkind.Kind
	hint string // for people; "" where Azure's own message does
}

const (
	clockHint = "check the credentials, and the clock of this machine: Azure refuses requests that are 15 minutes off"
	leaseHint = "somebody holds a lease on the blob: it can be written when the lease is released"
	goneHint  = "the container is not there: nothing is concluded about its blobs"
)

var byCode = map[string]meaning{
	"BlobNotFound":          {errkind.NotFound, ""},
	"ContainerNotFound":     {errkind.Unavailable, goneHint},
	"ContainerBeingDeleted": {errkind.Unavailable, goneHint},
	"ContainerDisabled":     {errkind.Unavailable, goneHint},
	"AccountBeingCreated":   {errkind.Unavailable, ""},
	"AccountIsDisabled":     {errkind.Unavailable, "the storage account is disabled"},

	"ConditionNotMet":       {errkind.PreconditionFailed, ""},
	"TargetConditionNotMet": {errkind.PreconditionFailed, ""},
	"SourceConditionNotMet": {errkind.PreconditionFailed, ""},

	"LeaseIdMissing":                   {errkind.Conflict, leaseHint},
	"LeaseIdMismatchWithBlobOperation": {errkind.Conflict, leaseHint},
	"LeaseAlreadyPresent":              {errkind.Conflict, leaseHint},
	"LeaseLost":                        {errkind.Conflict, leaseHint},
	"PendingCopyOperation":             {errkind.Conflict, "a copy onto the blob is under way"},
	"BlobOverwritten":                  {errkind.Conflict, ""},
	"OperationTimedOut":                {errkind.Unavailable, ""},
	"InternalError":                    {errkind.Unavailable, ""},
	"Md5Mismatch":                      {errkind.Unavailable, "the bytes were changed on the way, and nothing was stored"},
	"Crc64Mismatch":                    {errkind.Unavailable, "the bytes were changed on the way, and nothing was stored"},
	"ServerBusy":                       {errkind.Throttled, ""},
	"TooManyRequests":                  {errkind.Throttled, ""},

	"BlobArchived":        {errkind.Unsupported, "the blob is in the archive tier: somebody has to bring it back (Set Blob Tier)"},
	"BlobBeingRehydrated": {errkind.Unsupported, "the blob is being brought back from the archive tier, which takes hours"},
	"SnapshotsPresent":    {errkind.Unsupported, "the blob has snapshots, which would be deleted with it: somebody has to delete them first"},
	"InvalidBlobType":     {errkind.Unsupported, "an append or page blob can't be replaced by an upload in parts: somebody has to delete it first"},
	"BlobImmutableDueToPolicy": {errkind.PermissionDenied,
		"an immutability policy or a legal hold protects the blob"},
	"BlobUsesCustomerSpecifiedEncryption":                    {errkind.Unsupported, "the blob is encrypted with a key that only its writer has"},
	"CopyAcrossAccountsNotSupported":                         {errkind.Unsupported, ""},
	"InvalidSourceBlobType":                                  {errkind.Unsupported, ""},
	"APINotImplemented":                                      {errkind.Unsupported, ""},
	"FeatureNotYetSupportedForHierarchicalNamespaceAccounts": {errkind.Unsupported, ""},
	"InvalidBlobOrBlock": {errkind.Conflict,
		"somebody else is uploading blocks to this key with ids of another length: start again when that is over"},

	"AuthenticationFailed":            {errkind.PermissionDenied, clockHint},
	"NoAuthenticationInformation":     {errkind.Unauthenticated, clockHint},
	"InvalidAuthenticationInfo":       {errkind.Unauthenticated, clockHint},
	"AuthorizationPermissionMismatch": {errkind.PermissionDenied, "the identity has no role that allows this"},
	"AuthorizationFailure":            {errkind.PermissionDenied, "the account key is wrong, or a rule of the account's network forbids this"},
}

// fail gives an SDK error its kind.
func fail(err error) error { return failure(err, meaning{}) }

// failWrite is fail for a write. Under a condition, a blob that is there already and one that is missing are both a condition
// that did not hold.
func failWrite(err error, conditional bool) error {
	if c := code(err); conditional && (c == "BlobAlreadyExists" || c == "BlobNotFound") {
		return failure(err, meaning{kind: errkind.PreconditionFailed})
	}
	return fail(err)
}

// failure is err with the given meaning, or with that of its code if there is none.
func failure(err error, m meaning) error {
	if err == nil {
		return nil
	}
	resp, ok := errors.AsType[*azcore.ResponseError](err)
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		// A context that ended says nothing about what the server did; errkind knows the two ways it can end.
		return errkind.New(errkind.Of(err), "%w", err)
	case !ok && errkind.Of(err) != errkind.Unknown:
		return err // ours: nothing was sent
	case !ok:
		return errkind.New(kindWithoutAnswer(err), "%w", err)
	}
	if m.kind == errkind.Unknown {
		m = byCode[resp.ErrorCode]
	}
	if m.kind == errkind.Unknown {
		m = byStatus(resp.StatusCode)
	}
	var b strings.Builder
	b.WriteString("the server answered " + strconv.Itoa(resp.StatusCode))
	if resp.ErrorCode != "" {
		b.WriteString(" " + resp.ErrorCode)
	}
	var header http.Header
	if r := resp.RawResponse; r != nil {
		header = r.Header
		if text := message(r); text != "" {
			b.WriteString(": " + text)
		}
		if id := header.Get("X-Ms-Request-Id"); id != "" {
			b.WriteString(" (request " + id + ")")
		}
	}
	if m.hint != "" {
		b.WriteString("; " + m.hint)
	}
	return errkind.After(delay(m, header), errkind.New(m.kind, "%s", b.String()))
}

func byStatus(status int) meaning {
	switch {
	case status == http.StatusPreconditionFailed:
		return meaning{kind: errkind.PreconditionFailed}
	case status == http.StatusForbidden:
		return meaning{kind: errkind.PermissionDenied}
	case status == http.StatusUnauthorized:
		return meaning{errkind.Unauthenticated, clockHint}
	case status == http.StatusNotFound:
		return meaning{kind: errkind.Unavailable} // without a code that we know: nobody's explicit "the blob is not there"
	case status == http.StatusConflict:
		return meaning{kind: errkind.Conflict}
	case status == http.StatusTooManyRequests:
		return meaning{kind: errkind.Throttled}
	case status == http.StatusRequestTimeout || status == http.StatusServiceUnavailable:
		return meaning{kind: errkind.Unavailable} // a 503 that isn't Azure's: a proxy lost the answer, and a write may have happened
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented:
		return meaning{kind: errkind.Unsupported}
	case status >= 300 && status < 500:
		return meaning{kind: errkind.Invalid}
	}
	return meaning{kind: errkind.Unavailable}
}

// kindWithoutAnswer: only a token that Entra refused is more than "nobody answered".
func kindWithoutAnswer(err error) errkind.Kind {
	if e, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && e.RawResponse != nil && e.RawResponse.StatusCode < 500 {
		return errkind.Unauthenticated
	}
	return errkind.Unavailable
}

func code(err error) string {
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return e.ErrorCode
	}
	return ""
}

// message is the first line of what the server says; what follows repeats ids and times.
func message(r *http.Response) string {
	payload, err := runtime.Payload(r)
	if err != nil || len(payload) == 0 {
		return ""
	}
	var doc struct{ Message string }
	if xml.Unmarshal(payload, &doc) != nil {
		return ""
	}
	return firstLine(doc.Message)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}

// delay is when to come back, if the server said so or it is known otherwise.
func delay(m meaning, h http.Header) time.Duration {
	if m.hint == leaseHint {
		return leaseDelay
	}
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	return 0
}

func status(err error) int {
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return e.StatusCode
	}
	return 0
}
