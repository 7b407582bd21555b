package conformance_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// attribute is something that a user can give an object: a row of the table.
type attribute struct {
	section string
	name    string
	from    []string // clouds that can hold it; nil: all
	key     string   // "" is one of the test's choice
	object  thing
	// refused has, by destination, words that the reason must have. What is refused without being named here is a fault, and so is
	// what is named here and not refused. "*" is every destination.
	refused map[string]string
	md5     bool // the clouds must vouch for the same one
	own     bool // of the bucket's configuration, not of the object: it stays where it is, and the content is carried all the same
	note    string
}

func (a attribute) at(cloud string) bool { return a.from == nil || slices.Contains(a.from, cloud) }

// why is what a refusal at a destination must say; "" is no refusal.
func (a attribute) why(cloud string) string {
	if w := a.refused[cloud]; w != "" {
		return w
	}
	return a.refused["*"]
}

func plain(change func(*thing)) thing {
	o := thing{body: "content", contentType: "text/plain"}
	change(&o)
	return o
}

func withMeta(meta ...string) thing {
	return plain(func(o *thing) {
		o.meta = map[string]string{}
		for i := 0; i < len(meta); i += 2 {
			o.meta[meta[i]] = meta[i+1]
		}
	})
}

func withTags(tags ...string) thing {
	return plain(func(o *thing) {
		o.tags = map[string]string{}
		for i := 0; i < len(tags); i += 2 {
			o.tags[tags[i]] = tags[i+1]
		}
	})
}

// gzipped is a compressed text, as it is stored.
func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func random(n int) string {
	r := rand.New(rand.NewPCG(1, 2)) // contents of a test
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32()) // the low byte is wanted
	}
	return string(b)
}

// manyMeta is metadata of about that many bytes.
func manyMeta(bytes int) thing {
	return plain(func(o *thing) {
		o.meta = map[string]string{}
		for i := range bytes / 512 {
			o.meta[fmt.Sprintf("name%02d", i)] = strings.Repeat("v", 506)
		}
	})
}

func attributes(t *testing.T) []attribute {
	s3Only, gcsOnly, azureOnly := []string{s3Cloud}, []string{gcsCloud}, []string{azureCloud}
	notAzure, notGCS := []string{s3Cloud, gcsCloud}, []string{s3Cloud, azureCloud}
	all := []attribute{
		{name: "bytes", object: plain(func(o *thing) { o.body = random(70_000) })},
		{name: "no bytes", object: plain(func(o *thing) { o.body = "" })},
		{name: "more than a part", object: plain(func(o *thing) { o.body, o.as = random(11<<20+7), "multipart" })},
		{name: "no bytes and no properties", object: thing{}},
		{name: "MD5", md5: true, object: plain(func(o *thing) { o.body = "MD5" }), note: "made of the bytes by each cloud, where they arrive in one part"},
	}
	sections(all, "content")

	headers := []attribute{
		{name: "content type", object: plain(func(o *thing) { o.contentType = "image/png" })},
		{name: "content type with parameters", object: plain(func(o *thing) { o.contentType = `text/html; charset="utf-8"; x=y` })},
		{name: "no content type", object: plain(func(o *thing) { o.contentType = "" }), note: "`application/octet-stream` where a cloud has no place for none"},
		{name: "content encoding gzip", object: plain(func(o *thing) { o.encoding, o.body = "gzip", gzipped(t, "stored bytes stay as they are") })},
		{name: "content language", object: plain(func(o *thing) { o.language = "de-AT, en" })},
		{name: "content disposition", object: plain(func(o *thing) {
			o.disposition = `attachment; filename="a \"b\".txt"; filename*=UTF-8''%e2%82%ac%20rates.txt`
		})},
		{name: "cache control", object: plain(func(o *thing) { o.cache = "public, max-age=60" })},
		{name: "cache control as a public object has it", object: plain(func(o *thing) { o.cache = "public, max-age=3600" })},
		{name: "expires", from: s3Only, object: plain(func(o *thing) { o.expires = "Thu, 01 Dec 2033 16:00:00 GMT" })},
	}
	sections(headers, "headers")

	const s3Limit, azureLimit = "Your metadata headers exceed the maximum allowed metadata size", "the limit is 8192"
	metadata := []attribute{
		{name: "ASCII", object: withMeta("color", "dark blue; x=1, y%20z")},
		{name: "unicode value", from: notAzure, object: withMeta("title", "grüße, 日本語 😀")},
		{name: "value that looks encoded", object: withMeta("title", "=?UTF-8?Q?abc?=")},
		{name: "empty value", from: notAzure, object: withMeta("empty", "")},
		{name: "value with spaces at its ends", from: gcsOnly, object: withMeta("padded", "  a b  ")},
		{name: "value with line breaks", from: gcsOnly, object: withMeta("text", "a\r\nb\tc")},
		{name: "name with a hyphen", from: notAzure, object: withMeta("content-hash", "1")},
		{name: "name with an underscore", object: withMeta("content_hash", "1")},
		{name: "name that looks escaped", object: withMeta("a_x2d_b", "1")},
		{name: "name with a dot", from: notAzure, object: withMeta("a.b", "1")},
		{name: "upper-case name", object: withMeta("Upper_Case", "Value"), note: "the case of a name is not kept: it is lower at all other replicas"},
		{name: "name that begins with a digit", from: notAzure, object: withMeta("2nd", "1")},
		{
			name: "names that differ in case", from: gcsOnly, object: withMeta("Name", "1", "name", "2"),
			refused: map[string]string{"*": `has the key "name" twice, in upper and in lower case`},
		},
		{
			name: "name with a space", from: gcsOnly, object: withMeta("with space", "1"),
			refused: map[string]string{"*": `the metadata key "with space" is no HTTP header's name`},
		},
		{
			name: "unicode name", from: gcsOnly, object: withMeta("größe", "1"),
			refused: map[string]string{"*": `the metadata key "größe" is no HTTP header's name`},
		},
		{name: "1.5 KiB", object: manyMeta(1536)},
		{name: "more than 2 KiB", from: []string{gcsCloud, azureCloud}, object: manyMeta(4 << 10), refused: map[string]string{s3Cloud: s3Limit}},
		{name: "more than 8 KiB", from: gcsOnly, object: manyMeta(12 << 10), refused: map[string]string{s3Cloud: s3Limit, azureCloud: azureLimit}},
	}
	sections(metadata, "metadata")

	const notInAzure = "Azure can't hold the"
	tags := []attribute{
		{name: "ASCII", from: notGCS, object: withTags("project", "a b", "x.y/z:1", "v=1+2")},
		{name: "empty value", from: notGCS, object: withTags("flag", "")},
		{name: "ten", from: notGCS, object: withTags("a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j", "10")},
		{
			name: "unicode value", from: []string{}, object: withTags("city", "Zürich 東京"),
			note: "Amazon S3 can hold it, MinIO can't; Azure refuses it as it does the characters below",
		},
		{
			name: "character that Azure has not", from: s3Only, object: withTags("mail@home", "1"),
			refused: map[string]string{azureCloud: notInAzure + ` tag key "mail@home"`},
			note:    "more than ten tags can't be written anywhere: ten is the limit of S3 and of Azure",
		},
	}
	sections(tags, "tags")

	special := []attribute{
		{name: "custom time", from: gcsOnly, object: plain(func(o *thing) { o.customTime = "2031-02-03T04:05:06Z" })},
		{name: "append blob", from: azureOnly, object: plain(func(o *thing) { o.as, o.meta = "append", map[string]string{"a": "b"} }), note: "arrives as an object that can't be appended to"},
		{name: "page blob", from: azureOnly, object: plain(func(o *thing) { o.as, o.body = "page", strings.Repeat("p", 512) })},
	}
	sections(special, "one cloud alone")

	own := []attribute{
		{name: "storage class, tier", object: plain(func(o *thing) { o.as = "storage class" })},
		{name: "ACL", from: notAzure, object: plain(func(o *thing) { o.as = "acl" })},
		{name: "legal hold, temporary hold", from: notAzure, object: plain(func(o *thing) { o.as = "hold" })},
		{name: "retention", from: s3Only, object: plain(func(o *thing) { o.as = "retention" })},
		{name: "lease", from: azureOnly, object: plain(func(o *thing) { o.as = "lease" })},
		{name: "snapshot", from: azureOnly, object: plain(func(o *thing) { o.as = "snapshot" })},
		{name: "last-modified time", object: plain(func(*thing) {})},
	}
	for i := range own {
		own[i].own = true
	}
	sections(own, "the replica's own")
	return slices.Concat(all, headers, metadata, tags, special, keys(), own)
}

func sections(all []attribute, name string) {
	for i := range all {
		all[i].section = name
	}
}

// keys are names of objects that programs get wrong.
func keys() []attribute {
	const dots, control, path, units = "it drops dots at the end", "a blob's name can't have the character", "it keeps objects as files", "the limit is 1024"
	gcsOnly, notAzure := []string{gcsCloud}, []string{s3Cloud, gcsCloud}
	long := func(unit string, bytes int) string { // parts of less than 255 bytes, because MinIO keeps them as files
		part := strings.Repeat(unit, 180/len(unit)) + "/"
		s := strings.Repeat(part, bytes/len(part))
		return s + strings.Repeat(unit, (bytes-len(s))/len(unit)) + strings.Repeat("x", (bytes-len(s))%len(unit))
	}
	all := []attribute{
		{name: "`a b`, `a+b`, `a%2Bb`, `100%25`", key: "a b/a+b/a%2Bb/100%25"},
		{name: "`a+b` beside `a b`", key: "a+b/a+b/a%2Bb/100%25"},
		{name: "unicode `é` in one character", key: "k/\u00e9"},
		{name: "unicode `é` in two characters", key: "k/e\u0301"},
		{name: "`日本`, emoji", key: "日本/😀"},
		{name: "space at its end", key: "k/space "},
		{name: "space at its beginning", key: " k/space"},
		{name: "`?`, `#`, `&`, `=`", key: "k/q?uestion#hash&amp=1"},
		{name: "quotes and brackets", key: `k/"'<>[]{}|^~*:`},
		{name: "slash at its end", key: "k/folder/"},
		{name: "1,024 bytes of ASCII", key: long("k", 1024)},
		{name: "1,024 bytes, three each", key: long("日", 1024)},
		{
			name: "`//`", key: "k//double", from: []string{gcsCloud, azureCloud}, refused: map[string]string{s3Cloud: path},
			note: "Amazon S3 holds `//`, `.` and `..`; MinIO cleans keys as if they were file names",
		},
		{name: "`./`", key: "k/./here", from: gcsOnly, refused: map[string]string{s3Cloud: path, azureCloud: dots}},
		{name: "`../`", key: "k/../up", from: gcsOnly, refused: map[string]string{s3Cloud: path, azureCloud: dots}},
		{name: "dot at its end", key: "k/dot.", from: notAzure, refused: map[string]string{azureCloud: dots}},
		{name: "dot before a slash", key: "k/dots./x", from: notAzure, refused: map[string]string{azureCloud: dots}},
		{name: "backslash", key: `k/back\slash`, from: notAzure, refused: map[string]string{azureCloud: control}},
		{name: "line break", key: "k/line\nbreak", from: []string{s3Cloud}, refused: map[string]string{gcsCloud: "GCS takes no name with a line break", azureCloud: control}},
		{name: "control character", key: "k/\u0007bell", from: notAzure, refused: map[string]string{azureCloud: control}},
		{name: "DEL, C1", key: "k/\u007f\u0085", from: notAzure, refused: map[string]string{azureCloud: control}},
		{name: "254 parts", key: strings.Repeat("d/", 253) + "x"},
		{name: "255 parts", key: strings.Repeat("e/", 254) + "x", from: notAzure, refused: map[string]string{azureCloud: "the limit is 254"}},
	}
	_ = units
	for i := range all {
		all[i].object = plain(func(o *thing) { o.body = "of key " + all[i].name })
	}
	sections(all, "keys")
	return all
}
