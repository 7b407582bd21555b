package object

import (
	"encoding/hex"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/keypath"
)

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Bucket) checkKey(key string) error {
	caps := b.d.Capabilities()
	limit := caps.MaxKey
	switch {
	case key == "":
		return driver.RefuseKey("the key is empty")
	case limit > 0 && len(key) > limit:
		return driver.RefuseKey("the key has %d bytes, the bucket allows %d", len(key), limit)
	case !utf8.ValidString(key):
		return driver.RefuseKey("the key %q is not UTF-8", key)
	case caps.KeysAsPaths && keypath.Unclean(key):
		return driver.RefuseKey("the bucket's server would store the key %q under another name", key)
	}
	return nil
}

func checkRead(o *driver.ReadOptions) error {
	if o.Offset < 0 {
		return errkind.New(errkind.Invalid, "the offset %d is negative", o.Offset)
	}
	return nil
}

func checkSize(what string, size, limit int64) error {
	switch {
	case size < 0:
		return errkind.New(errkind.Invalid, "the size %d of the %s is negative", size, what)
	case limit > 0 && size > limit:
		return errkind.New(errkind.Invalid, "the %s has %d bytes, the bucket takes %d in one request", what, size, limit)
	}
	return nil
}

// checkLength holds the caller to the size it declared: a shorter body would be a torn object, a longer one would be
// cut. The position of body is kept.
func checkLength(body io.ReadSeeker, size int64) error {
	if body == nil {
		return errkind.New(errkind.Invalid, "there is no body")
	}
	at, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	end, err := body.Seek(0, io.SeekEnd)
	if err != nil {
		return errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	if _, err := body.Seek(at, io.SeekStart); err != nil {
		return errkind.New(errkind.Invalid, "seek body: %w", err)
	}
	if end-at != size {
		return errkind.New(errkind.Invalid, "the body has %d bytes, %d were announced", end-at, size)
	}
	return nil
}

func checkCondition(p driver.Precondition) error {
	switch {
	case p.NotExist && p.Match != "":
		return errkind.New(errkind.Invalid, "a precondition can't ask for an absent object and a tag at once")
	case p.VersionID != "" && p.Match == "":
		return errkind.New(errkind.Invalid, "a precondition with a version needs the tag too")
	}
	return nil
}

func checkDelete(o *driver.DeleteOptions) error {
	switch {
	case o.If.NotExist:
		return errkind.New(errkind.Invalid, "a delete can't ask for an absent object")
	case o.VersionID != "" && o.If != (driver.Precondition{}):
		return errkind.New(errkind.Invalid, "removing a version takes no condition")
	}
	return checkCondition(o.If)
}

func checkSums(o *driver.PutOptions) error {
	for _, s := range []struct {
		name, sum string
		bytes     int
	}{{"MD5", o.MD5, 16}, {"SHA-256", o.SHA256, 32}} {
		if s.sum == "" {
			continue
		}
		raw, err := hex.DecodeString(s.sum)
		if err != nil || len(raw) != s.bytes || strings.ToLower(s.sum) != s.sum {
			return errkind.New(errkind.Invalid, "%q is not a %s in lower-case hex", s.sum, s.name)
		}
	}
	return nil
}

// checkProperties refuses what no provider can carry: header names that aren't tokens, upper-case metadata keys (S3
// would give them back in lower case, and the two would never compare equal).
func checkProperties(p *driver.Properties) error {
	for k := range p.Metadata {
		if k == "" || strings.IndexFunc(k, notMetadataKey) >= 0 {
			return errkind.New(errkind.Invalid, "the metadata key %q is not a lower-case header name", k)
		}
	}
	for _, v := range []string{
		p.ContentType, p.ContentEncoding, p.ContentLanguage, p.ContentDisposition, p.CacheControl, p.Expires,
	} {
		if strings.ContainsAny(v, "\r\n\x00") {
			return errkind.New(errkind.Invalid, "the header value %q has a line break", v)
		}
	}
	return nil
}

func notMetadataKey(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.!#$%&'*+^`|~", r)
}

func checkUpload(id string) error {
	if id == "" {
		return errkind.New(errkind.Invalid, "the upload id is empty")
	}
	return nil
}

func checkParts(parts []driver.Part) error {
	if len(parts) == 0 {
		return errkind.New(errkind.Invalid, "an upload needs at least one part")
	}
	for i := 1; i < len(parts); i++ {
		if parts[i].Number <= parts[i-1].Number {
			return errkind.New(errkind.Invalid, "part %d comes after part %d", parts[i].Number, parts[i-1].Number)
		}
	}
	return nil
}
