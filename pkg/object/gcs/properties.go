package gcs

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/storage"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/extra"
)

// What GCS has no place for is kept in metadata under these keys, and mapped back when read.
const (
	metaTags    = "bucketmesh-tags"    // a query string
	metaExpires = "bucketmesh-expires" // as it was given
)

// encode makes GCS attributes of properties. Metadata stays as it is: the JSON API carries any text.
func encode(p *driver.Properties) (storage.ObjectAttrs, error) {
	o := storage.ObjectAttrs{
		ContentType: p.ContentType, ContentEncoding: p.ContentEncoding, ContentLanguage: p.ContentLanguage,
		ContentDisposition: p.ContentDisposition, CacheControl: p.CacheControl, Metadata: maps.Clone(p.Metadata),
	}
	if o.ContentType == "" {
		o.ContentType = driver.DefaultContentType
	}
	for _, own := range []string{metaTags, metaExpires} {
		if _, taken := p.Metadata[own]; taken {
			return o, errkind.New(errkind.Invalid, "the metadata key %q is bucketmesh's own on GCS: give it another name", own)
		}
	}
	if o.Metadata == nil {
		o.Metadata = map[string]string{}
	}
	if len(p.Tags) > 0 {
		v := url.Values{}
		for k, t := range p.Tags {
			v.Set(k, t)
		}
		o.Metadata[metaTags] = v.Encode()
	}
	if p.Expires != "" {
		o.Metadata[metaExpires] = p.Expires
	}
	return o, encodeExtra(p.Extra, &o)
}

// encodeExtra gives an object its extras. The custom time is in metadata, too: the SDK sends whole seconds.
func encodeExtra(extras map[string]string, o *storage.ObjectAttrs) error {
	var err error
	if at := extras[extra.CustomTime]; at != "" {
		if o.CustomTime, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return errkind.New(errkind.Invalid, "the custom time %q is no time in RFC 3339", at)
		}
	}
	kept := maps.Clone(extras)
	delete(kept, extra.Contexts)
	o.Metadata = extra.Pack(o.Metadata, kept)
	query := extras[extra.Contexts]
	if query == "" {
		return nil
	}
	contexts, err := url.ParseQuery(query)
	if err != nil {
		return errkind.New(errkind.Invalid, "the object contexts %q are no query string", query)
	}
	o.Contexts = &storage.ObjectContexts{Custom: map[string]storage.ObjectCustomContextPayload{}}
	for k := range contexts {
		o.Contexts.Custom[k] = storage.ObjectCustomContextPayload{Value: contexts.Get(k)}
	}
	return nil
}

// decodeExtra are an object's extras, given those in its metadata. A custom time in metadata is another one if the object was
// given a later one since.
func decodeExtra(o *storage.ObjectAttrs, extras map[string]string) map[string]string {
	delete(extras, extra.Contexts)
	at, err := time.Parse(time.RFC3339Nano, extras[extra.CustomTime])
	if !o.CustomTime.IsZero() && (err != nil || !at.Truncate(time.Second).Equal(o.CustomTime)) {
		extras = extra.With(extras, extra.CustomTime, o.CustomTime.UTC().Format(time.RFC3339Nano))
	}
	if o.Contexts != nil {
		v := url.Values{}
		for k, payload := range o.Contexts.Custom {
			v.Set(k, payload.Value)
		}
		extras = extra.With(extras, extra.Contexts, v.Encode())
	}
	if len(extras) == 0 {
		return nil
	}
	return extras
}

// decode makes properties of GCS attributes. What the other clouds can't carry is refused here, where its true form is
// known: a key that is lost on the way would look like an edit of a user's.
func decode(o *storage.ObjectAttrs) (driver.Properties, error) {
	p := driver.Properties{
		ContentType: o.ContentType, ContentEncoding: o.ContentEncoding, ContentLanguage: o.ContentLanguage,
		ContentDisposition: o.ContentDisposition, CacheControl: o.CacheControl,
	}
	if p.ContentType == "" {
		p.ContentType = driver.DefaultContentType
	}
	for _, k := range slices.Sorted(maps.Keys(o.Metadata)) {
		v, lower := o.Metadata[k], strings.ToLower(k)
		switch _, twice := p.Metadata[lower]; {
		case k == metaTags:
			tags, err := decodeTags(v)
			if err != nil {
				return p, err
			}
			p.Tags = tags
		case k == metaExpires:
			p.Expires = v
		case twice:
			return p, errkind.New(errkind.Invalid, "the metadata has the key %q twice, in upper and in lower case, which other clouds can't hold: "+
				"rename one", lower)
		case lower == "" || strings.ContainsFunc(lower, notToken):
			return p, errkind.New(errkind.Invalid, "the metadata key %q is no HTTP header's name, so that other clouds can't hold it: rename it", k)
		default:
			if p.Metadata == nil {
				p.Metadata = make(map[string]string, len(o.Metadata))
			}
			p.Metadata[lower] = v
		}
	}
	p.Metadata, p.Extra = extra.Unpack(p.Metadata)
	p.Extra = decodeExtra(o, p.Extra)
	return p, nil
}

// notToken is for what RFC 9110 has no place for in a header's name.
func notToken(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.!#$%&'*+^`|~", r)
}

func decodeTags(s string) (map[string]string, error) {
	v, err := url.ParseQuery(s)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "the metadata key %q is bucketmesh's own and holds no query string: remove it", metaTags)
	}
	tags := make(map[string]string, len(v))
	for k := range v {
		tags[k] = v.Get(k)
	}
	return tags, nil
}

// attrsOf are the attributes of an object, without its properties.
func attrsOf(o *storage.ObjectAttrs, requestID string) *driver.Attrs {
	a := &driver.Attrs{
		Key: o.Name, Size: o.Size, RequestID: requestID, CRC32C: encodeCRC(o.CRC32C),
		Tag: strconv.FormatInt(o.Generation, 10), ModTime: o.Updated.Truncate(time.Second), // the XML API tells no more
	}
	a.VersionID = a.Tag
	if o.Metageneration > 0 {
		a.Metageneration = strconv.FormatInt(o.Metageneration, 10)
	}
	if len(o.MD5) == 16 {
		a.MD5 = hex.EncodeToString(o.MD5)
	}
	a.ETag = etagOf(a.MD5, o.Etag)
	return a
}

// etagOf is the ETag as the XML API gives it: the MD5, as on S3, or of an object that was composed another one. The JSON
// API has an ETag of its own for each edit of the metadata.
func etagOf(md5Hex, jsonETag string) string {
	if md5Hex != "" {
		return md5Hex
	}
	return "-" + jsonETag
}

// described are attributes with properties.
func described(o *storage.ObjectAttrs, requestID string) (*driver.Attrs, error) {
	a := attrsOf(o, requestID)
	var err error
	a.Properties, err = decode(o)
	return a, err
}

// encodeCRC is a crc32c as GCS writes it.
func encodeCRC(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

// generation reads a Tag or VersionID. One of another form names nothing that GCS has.
func generation(tag string) (int64, bool) {
	n, err := strconv.ParseInt(tag, 10, 64)
	return n, err == nil && n > 0
}

// version is an object's generation, or its live one.
func version(o *storage.ObjectHandle, id string) (*storage.ObjectHandle, error) {
	if id == "" {
		return o, nil
	}
	n, ok := generation(id)
	if !ok {
		return nil, errkind.New(errkind.NotFound, "%q is no generation", id)
	}
	return o.Generation(n), nil
}

// conditioned is o under a precondition.
func conditioned(o *storage.ObjectHandle, p driver.Precondition) (*storage.ObjectHandle, error) {
	var c storage.Conditions
	if p.NotExist {
		return o.If(storage.Conditions{DoesNotExist: true}), nil
	}
	for _, f := range []struct {
		want string
		into *int64
		name string
	}{{p.Match, &c.GenerationMatch, "generation"}, {p.Metageneration, &c.MetagenerationMatch, "metageneration"}} {
		if f.want == "" {
			continue
		}
		n, ok := generation(f.want)
		if !ok {
			return nil, errkind.New(errkind.PreconditionFailed, "no object can have the %s %q", f.name, f.want)
		}
		*f.into = n
	}
	if c == (storage.Conditions{}) {
		return o, nil
	}
	return o.If(c), nil
}
