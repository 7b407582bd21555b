package azblob

import (
	"net/http"
	"strings"
)

// reporter sends requests and tells each at the last moment before it is sent.
type reporter struct {
	client *http.Client
	report func(operation string)
}

// Do implements policy.Transporter.
func (r *reporter) Do(req *http.Request) (*http.Response, error) {
	if r.report != nil {
		r.report(operation(req))
	}
	return r.client.Do(req) //nolint:wrapcheck // between two layers of the SDK
}

// operation is the S3 name of what a request does: one vocabulary for the counters of all providers.
func operation(req *http.Request) string {
	q := req.URL.Query()
	comp := q.Get("comp")
	switch {
	case comp == "tags":
		return "GetObjectTagging"
	case comp == "blocklist" && req.Method == http.MethodPut:
		return "CompleteMultipartUpload"
	case comp == "blocklist":
		return "ListParts"
	case comp == "block":
		return "UploadPart"
	case comp == "list" && strings.Contains(q.Get("include"), "versions"):
		return "ListObjectVersions"
	case comp == "list":
		return "ListObjectsV2"
	case req.Method == http.MethodHead:
		return "HeadObject"
	case req.Method == http.MethodDelete:
		return "DeleteObject"
	case req.Method == http.MethodPut && len(req.Header["x-ms-copy-source"]) > 0: //nolint:staticcheck // as the SDK writes it
		return "CopyObject"
	case req.Method == http.MethodPut:
		return "PutObject"
	}
	return "GetObject"
}
