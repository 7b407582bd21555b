package reconcile

import (
	"maps"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// mergeProperties adds to ours what theirs changed. What both changed stays ours; without a base, what only one has is in the
// result. The properties that lose are with the copies of the versions that they belonged to.
func mergeProperties(base *driver.Properties, ours, theirs driver.Properties) driver.Properties {
	var old driver.Properties
	if base != nil {
		old = *base
	}
	one := func(old, ours, theirs string) string {
		if ours == old { // not changed, or there was nothing
			return theirs
		}
		return ours
	}
	many := func(old, ours, theirs map[string]string) map[string]string {
		out := maps.Clone(ours)
		if out == nil {
			out = map[string]string{}
		}
		for k, v := range theirs {
			was, had := old[k]
			mine, have := ours[k]
			if !have && !had || have && had && mine == was {
				out[k] = v
			}
		}
		for k, was := range old {
			if _, kept := theirs[k]; !kept && out[k] == was {
				delete(out, k)
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	return driver.Properties{
		ContentType:        one(old.ContentType, ours.ContentType, theirs.ContentType),
		ContentEncoding:    one(old.ContentEncoding, ours.ContentEncoding, theirs.ContentEncoding),
		ContentLanguage:    one(old.ContentLanguage, ours.ContentLanguage, theirs.ContentLanguage),
		ContentDisposition: one(old.ContentDisposition, ours.ContentDisposition, theirs.ContentDisposition),
		CacheControl:       one(old.CacheControl, ours.CacheControl, theirs.CacheControl),
		Expires:            one(old.Expires, ours.Expires, theirs.Expires),
		Metadata:           many(old.Metadata, ours.Metadata, theirs.Metadata),
		Tags:               many(old.Tags, ours.Tags, theirs.Tags),
		Extra:              many(old.Extra, ours.Extra, theirs.Extra),
	}
}
