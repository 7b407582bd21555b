// Package extra keeps properties that one provider alone has (driver.Properties.Extra) in metadata, so that an object that went
// to another provider has them when it comes back.
//
// There are no errors. The functions hold no state and may be called at the same time.
package extra

import (
	"maps"
	"strings"
)

// Names of properties.
const (
	// CustomTime is the custom time of GCS, in RFC 3339.
	CustomTime = "gcs-custom-time"
	// Contexts are the object contexts of GCS, as a query string.
	Contexts = "gcs-contexts"
	// WebsiteRedirect is the x-amz-website-redirect-location of S3.
	WebsiteRedirect = "s3-website-redirect"
)

// prefix is bucketmesh's own: no user's metadata are mistaken for these.
const prefix = "bucketmesh-x-"

// Pack is metadata with the extras in them.
func Pack(metadata, extras map[string]string) map[string]string {
	if len(extras) == 0 {
		return metadata
	}
	all := make(map[string]string, len(metadata)+len(extras))
	maps.Copy(all, metadata)
	for k, v := range extras {
		all[prefix+k] = v
	}
	return all
}

// Unpack undoes Pack. It may change metadata.
func Unpack(metadata map[string]string) (rest, extras map[string]string) {
	for k, v := range metadata {
		if name, ok := strings.CutPrefix(k, prefix); ok {
			extras = With(extras, name, v)
			delete(metadata, k)
		}
	}
	if len(metadata) == 0 {
		return nil, extras
	}
	return metadata, extras
}

// With is extras with one more; an empty value is none. It may change extras.
func With(extras map[string]string, name, value string) map[string]string {
	if value == "" {
		return extras
	}
	if extras == nil {
		extras = map[string]string{}
	}
	extras[name] = value
	return extras
}
