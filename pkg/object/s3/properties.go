package s3

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/extra"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/headers"
)

// encodeMetadata makes header values of metadata and extras. The website redirect is among them although S3 has a place for it:
// servers that speak S3 drop it, which would look like an edit of a user's.
func encodeMetadata(p *driver.Properties) map[string]string {
	m := extra.Pack(p.Metadata, p.Extra)
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = headers.Encode(v)
	}
	return out
}

func decodeMetadata(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[strings.ToLower(k)] = headers.Decode(v)
	}
	return out
}

// tagging is the x-amz-tagging header: tags as a query string.
func tagging(tags map[string]string) *string {
	if len(tags) == 0 {
		return nil
	}
	v := url.Values{}
	for k, t := range tags {
		v.Set(k, t)
	}
	return aws.String(v.Encode())
}

// opt is nil for a header that isn't set.
func opt(s string) *string {
	if s == "" {
		return nil
	}
	return aws.String(s)
}

// withExpires sends the Expires header as it is. The SDK's field is a time, and what users put there often isn't.
func withExpires(v string) func(*awss3.Options) {
	return func(o *awss3.Options) {
		if v != "" {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("Expires", v))
		}
	}
}

// contentType names the type that an object has whose writer named none: left to S3 it would be binary/octet-stream, which
// a user may have set, too.
func contentType(s string) string {
	if s == "" {
		return driver.DefaultContentType
	}
	return s
}

// contentEncoding drops "aws-chunked", which is how a body was sent and not how it is stored; some servers keep it.
func contentEncoding(s *string) string {
	var kept []string
	for e := range strings.SplitSeq(aws.ToString(s), ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ",")
}

// answer is what HEAD and GET have in common; the SDK has two types for it.
type answer struct {
	etag, version, crc64, sha256 *string
	kind                         types.ChecksumType
	sse                          types.ServerSideEncryption
	customerKey                  *string
	modified                     *time.Time
	meta                         middleware.Metadata
	props                        driver.Properties
	userMetadata                 map[string]string
	redirect                     *string
}

func (r answer) attrs(key string, size int64) *driver.Attrs {
	a := &driver.Attrs{Key: key, Size: size, Properties: r.props, ModTime: aws.ToTime(r.modified)}
	a.Metadata, a.Extra = extra.Unpack(decodeMetadata(r.userMetadata))
	a.Extra = extra.With(a.Extra, extra.WebsiteRedirect, aws.ToString(r.redirect))
	a.ETag = unquote(r.etag)
	a.Tag = a.ETag
	a.VersionID = versionID(r.version)
	a.RequestID, _ = awsmiddleware.GetRequestIDMetadata(r.meta)
	a.MD5 = contentMD5(a.ETag, r.sse, r.customerKey)
	if r.kind != types.ChecksumTypeComposite {
		a.CRC64NVME = aws.ToString(r.crc64)
		if raw, err := base64.StdEncoding.DecodeString(aws.ToString(r.sha256)); err == nil && len(raw) == 32 {
			a.SHA256 = hex.EncodeToString(raw)
		}
	}
	return a
}

// contentMD5 is the content's MD5 if the ETag is one: not of a multipart upload, and not under keys of KMS or the customer.
func contentMD5(etag string, sse types.ServerSideEncryption, customerKey *string) string {
	if len(etag) != 32 || strings.HasPrefix(string(sse), "aws:") || aws.ToString(customerKey) != "" {
		return ""
	}
	if _, err := hex.DecodeString(etag); err != nil {
		return ""
	}
	return strings.ToLower(etag)
}

// versionID is "" for the "null" version that unversioned and suspended buckets name.
func versionID(v *string) string {
	if s := aws.ToString(v); s != "null" {
		return s
	}
	return ""
}

func hexToBase64(s string) *string {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) == 0 {
		return nil
	}
	return aws.String(base64.StdEncoding.EncodeToString(raw))
}
