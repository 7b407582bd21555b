package azblob

import (
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/extra"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/headers"
)

// Azure's limits of what an object carries beside its bytes.
const (
	maxMetadata = 8 << 10 // bytes of all names and values
	maxTags     = 10
	maxTagKey   = 128
	maxTagValue = 256
)

// native is Properties in Azure's terms.
type native struct {
	headers  *blob.HTTPHeaders
	metadata map[string]*string
	tags     map[string]string
}

// encode refuses, as Invalid, what would come back otherwise than it went.
func encode(p driver.Properties) (native, error) {
	for name, v := range map[string]string{
		"Content-Type": p.ContentType, "Content-Encoding": p.ContentEncoding, "Content-Language": p.ContentLanguage,
		"Content-Disposition": p.ContentDisposition, "Cache-Control": p.CacheControl,
	} {
		if !headers.Printable(v) || strings.TrimSpace(v) != v {
			return native{}, errkind.New(errkind.Invalid, "Azure can't hold the %s %q: printable ASCII without spaces at its ends", name, v)
		}
	}
	if err := checkTags(p.Tags); err != nil {
		return native{}, err
	}
	m := make(map[string]*string, len(p.Metadata)+1)
	for k, v := range extra.Pack(p.Metadata, p.Extra) {
		m[encodeName(k)] = new(headers.EncodeWord(v)) // Azure has no empty values
	}
	if p.Expires != "" {
		m[expiresName] = new(headers.EncodeWord(p.Expires))
	}
	size := 0
	for k, v := range m {
		size += len(k) + len(*v)
	}
	if size > maxMetadata {
		return native{}, errkind.New(errkind.Invalid, "Azure can't hold the metadata: it has %d bytes, the limit is %d", size, maxMetadata)
	}
	return native{
		headers: &blob.HTTPHeaders{
			BlobContentType: opt(contentType(p.ContentType)), BlobContentEncoding: opt(p.ContentEncoding),
			BlobContentLanguage: opt(p.ContentLanguage), BlobContentDisposition: opt(p.ContentDisposition), BlobCacheControl: opt(p.CacheControl),
		},
		metadata: m, tags: p.Tags,
	}, nil
}

func contentType(s string) string {
	if s == "" {
		return driver.DefaultContentType
	}
	return s
}

// checkTags holds tags to the rules of blob index tags.
func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return errkind.New(errkind.Invalid, "Azure can't hold %d tags, the limit is %d", len(tags), maxTags)
	}
	for k, v := range tags {
		switch {
		case k == "" || len(k) > maxTagKey || strings.IndexFunc(k, notInTags) >= 0:
			return errkind.New(errkind.Invalid, "Azure can't hold the tag key %q: 1 to %d letters, digits, spaces and + - . / : = _", k, maxTagKey)
		case len(v) > maxTagValue || strings.IndexFunc(v, notInTags) >= 0:
			return errkind.New(errkind.Invalid, "Azure can't hold the value %q of tag %q: up to %d letters, digits, spaces and + - . / : = _",
				v, k, maxTagValue)
		}
	}
	return nil
}

func notInTags(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(" +-./:=_", r)
}

// decode completes p, which has the native properties, with what metadata holds.
func decode(p driver.Properties, metadata map[string]*string) driver.Properties {
	p.ContentType = contentType(p.ContentType)
	for name, v := range metadata {
		s := headers.DecodeWord(str(v)) // no other form is ours, and the service makes none
		if strings.EqualFold(name, expiresName) {
			p.Expires = s
			continue
		}
		if p.Metadata == nil {
			p.Metadata = make(map[string]string, len(metadata))
		}
		p.Metadata[decodeName(name)] = s
	}
	p.Metadata, p.Extra = extra.Unpack(p.Metadata)
	return p
}

// opt is nil for a header that isn't set.
func opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// or is what p points to, or the zero value.
func or[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

func str(p *string) string { return or(p) }

// tagOf takes the quotes off an ETag; listings have none anyway.
func tagOf(e *azcore.ETag) string { return strings.Trim(string(or(e)), `"`) }

// condition is a precondition in Azure's terms; nil for none.
func condition(p driver.Precondition) *blob.AccessConditions {
	m := &blob.ModifiedAccessConditions{}
	switch {
	case p.NotExist:
		m.IfNoneMatch = new(azcore.ETagAny)
	case p.Match != "":
		m.IfMatch = quoted(p.Match)
	default:
		return nil
	}
	return &blob.AccessConditions{ModifiedAccessConditions: m}
}

func quoted(tag string) *azcore.ETag {
	e := azcore.ETag(`"` + tag + `"`)
	return &e
}
