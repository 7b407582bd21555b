package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// gcsKind is what a request to Cloud Storage does.
type gcsKind int

const (
	gcsOther   gcsKind = iota // nothing that the gate looks at: buckets, notifications
	gcsList                   // of objects
	gcsRead                   // metadata or contents of an object
	gcsInsert                 // a whole object in one request
	gcsBegin                  // of a resumable upload
	gcsChunk                  // of a resumable upload; the last one makes the object
	gcsPatch                  // of metadata
	gcsDelete                 // of an object
	gcsRewrite                // a copy
	gcsCompose                // one object out of several
	gcsRefused                // what would get around the gate
)

// gcsObject is an object, and what it must be for a request to be carried out.
type gcsObject struct {
	bucket, name string
	generation   int64 // 0: the live one
	conditions   gcsConditions
}

func (o gcsObject) lockName() string { return o.bucket + "/" + o.name }

// gcsConditions are nil where they are not asked for. A generation of 0 is "no object".
type gcsConditions struct {
	generation, notGeneration, metageneration, notMetageneration *int64
}

// held says whether the conditions hold, given what there is.
func (c gcsConditions) held(generation, metageneration int64) bool {
	is := func(want *int64, have int64) bool { return want == nil || *want == have }
	isNot := func(want *int64, have int64) bool { return want == nil || *want != have }
	return is(c.generation, generation) && isNot(c.notGeneration, generation) &&
		is(c.metageneration, metageneration) && isNot(c.notMetageneration, metageneration)
}

func (c gcsConditions) any() bool { return c != gcsConditions{} }

// gcsRequest is what the gate has to know of a request.
type gcsRequest struct {
	kind     gcsKind
	target   gcsObject
	sources  []gcsObject // of rewrites and compositions
	xml      bool
	uploadID string
	last     bool // chunk of an upload: it ends it
}

// parseGCS reads a request to the JSON API, or to the XML API for reads and deletes of objects.
func parseGCS(r *http.Request, body []byte) (gcsRequest, error) {
	path := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	switch {
	case path[0] == "batch":
		return gcsRequest{kind: gcsRefused}, nil
	case len(path) >= 2 && path[0] == "storage" && path[1] == "v1":
		return parseGCSObject(r, path[2:], body)
	case len(path) >= 3 && path[0] == "upload" && path[1] == "storage":
		return parseGCSUpload(r, path[3:], body)
	case path[0] == "upload": // /upload/resumable/ID
		return gcsRequest{kind: gcsRefused}, nil
	case len(path) >= 3 && path[0] == "download" && path[1] == "storage":
		return parseGCSObject(r, path[3:], nil)
	case strings.HasPrefix(path[0], "_") || len(path) < 2 || path[1] == "":
		return gcsRequest{}, nil
	}
	return parseGCSXML(r, path)
}

func parseGCSXML(r *http.Request, path []string) (gcsRequest, error) {
	names, err := unescape(path[0], strings.Join(path[1:], "/"))
	if err != nil {
		return gcsRequest{}, err
	}
	req := gcsRequest{xml: true, target: gcsObject{bucket: names[0], name: names[1]}}
	h := func(name string) string { return r.Header.Get("X-Goog-If-" + name) }
	if req.target.conditions, err = conditions(h("Generation-Match"), "", h("Metageneration-Match"), ""); err != nil {
		return req, err
	}
	req.target.generation, err = number(r.URL.Query().Get("generation"))
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		req.kind = gcsRead
	case http.MethodDelete:
		req.kind = gcsDelete
	default: // the emulator has no XML writes but those of signed URLs
		req.kind = gcsRefused
	}
	return req, err
}

// parseGCSObject reads what follows /storage/v1: b/BUCKET/o/OBJECT, and what is done with it.
func parseGCSObject(r *http.Request, path []string, body []byte) (req gcsRequest, err error) {
	if len(path) < 3 || path[0] != "b" || path[2] != "o" {
		return gcsRequest{}, nil
	}
	names, err := unescape(path[1:]...)
	if err != nil {
		return req, err
	}
	if len(names) == 2 || names[2] == "" {
		return gcsRequest{kind: gcsList}, nil
	}
	q := r.URL.Query()
	req.target = gcsObject{bucket: names[0], name: names[2]}
	if req.target.conditions, err = query(q, "if"); err != nil {
		return req, err
	}
	if req.target.generation, err = number(q.Get("generation")); err != nil {
		return req, err
	}
	rest := names[3:]
	switch {
	case len(rest) == 0:
		req.kind = simpleKind(r, body)
	case rest[0] == "compose" && len(rest) == 1:
		req.kind = gcsCompose
		req.sources, err = composed(body, names[0])
	case (rest[0] == "rewriteTo" || rest[0] == "copyTo") && len(rest) == 5:
		req.kind = gcsRewrite
		source := req.target
		if source.conditions, err = query(q, "ifSource"); err != nil {
			return req, err
		}
		if source.generation, err = number(q.Get("sourceGeneration")); err != nil {
			return req, err
		}
		req.sources = []gcsObject{source}
		req.target.bucket, req.target.name, req.target.generation = rest[2], rest[4], 0
	case rest[0] == "acl" && r.Method != http.MethodGet:
		req.kind = gcsPatch
	}
	return req, err
}

func simpleKind(r *http.Request, body []byte) gcsKind {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return gcsRead
	case http.MethodDelete:
		return gcsDelete
	case http.MethodPatch, http.MethodPut:
		var edit map[string]any
		if err := json.Unmarshal(body, &edit); err != nil || edit["contentEncoding"] != nil {
			return gcsRefused
		}
		return gcsPatch
	}
	return gcsRefused
}

// composed are the sources of a composition, with their own conditions.
func composed(body []byte, bucket string) ([]gcsObject, error) {
	var doc struct {
		SourceObjects []struct {
			Name                string
			Generation          json.Number
			ObjectPreconditions struct{ IfGenerationMatch json.Number }
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("read composition: %w", err)
	}
	sources := make([]gcsObject, len(doc.SourceObjects))
	for i, s := range doc.SourceObjects {
		c, err := conditions(s.ObjectPreconditions.IfGenerationMatch.String(), "", "", "")
		if err != nil {
			return nil, err
		}
		generation, err := number(s.Generation.String())
		if err != nil {
			return nil, err
		}
		sources[i] = gcsObject{bucket, s.Name, generation, c}
	}
	return sources, nil
}

// parseGCSUpload reads what follows /upload/storage/v1: b/BUCKET/o.
func parseGCSUpload(r *http.Request, path []string, body []byte) (req gcsRequest, err error) {
	if len(path) < 3 || path[0] != "b" || path[2] != "o" {
		return gcsRequest{}, nil
	}
	names, err := unescape(path[1])
	if err != nil {
		return req, err
	}
	q := r.URL.Query()
	if id := q.Get("upload_id"); id != "" {
		return gcsRequest{kind: gcsChunk, uploadID: id, last: endsUpload(r.Header.Get("Content-Range"))}, nil
	}
	req.kind, req.target = gcsInsert, gcsObject{bucket: names[0], name: q.Get("name")}
	if req.target.conditions, err = query(q, "if"); err != nil {
		return req, err
	}
	document := body
	switch q.Get("uploadType") {
	case "media":
		document = nil
	case "multipart":
		if document, err = firstPart(r.Header.Get("Content-Type"), body); err != nil {
			return req, err
		}
	case "resumable":
		req.kind = gcsBegin
	default:
		return gcsRequest{kind: gcsRefused}, nil
	}
	if req.target.name == "" && len(document) > 0 {
		var resource struct{ Name string }
		if err := json.Unmarshal(document, &resource); err != nil {
			return req, fmt.Errorf("read metadata of upload: %w", err)
		}
		req.target.name = resource.Name
	}
	if req.target.name == "" {
		return req, errors.New("upload without a name")
	}
	return req, nil
}

// firstPart is the metadata of a multipart upload.
func firstPart(contentType string, body []byte) ([]byte, error) {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("read Content-Type of upload: %w", err)
	}
	part, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).NextPart()
	if err != nil {
		return nil, fmt.Errorf("read metadata of upload: %w", err)
	}
	return io.ReadAll(part)
}

// endsUpload says whether a chunk with that Content-Range is the last: "bytes 0-9/10", "bytes */10", or none at all.
func endsUpload(contentRange string) bool {
	part, total, ok := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "/")
	if !ok || total == "*" {
		return !ok
	}
	_, last, ok := strings.Cut(part, "-")
	if !ok {
		return part == "*"
	}
	n, err := strconv.ParseInt(last, 10, 64)
	size, serr := strconv.ParseInt(total, 10, 64)
	return err == nil && serr == nil && n+1 >= size
}

func query(q url.Values, prefix string) (gcsConditions, error) {
	return conditions(q.Get(prefix+"GenerationMatch"), q.Get(prefix+"GenerationNotMatch"),
		q.Get(prefix+"MetagenerationMatch"), q.Get(prefix+"MetagenerationNotMatch"))
}

func conditions(generation, notGeneration, metageneration, notMetageneration string) (c gcsConditions, err error) {
	var errs []error
	read := func(s string) *int64 {
		if s == "" {
			return nil
		}
		n, err := number(s)
		errs = append(errs, err)
		return &n
	}
	c = gcsConditions{read(generation), read(notGeneration), read(metageneration), read(notMetageneration)}
	return c, errors.Join(errs...)
}

func number(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read generation %q: %w", s, err)
	}
	return n, nil
}

func unescape(parts ...string) ([]string, error) {
	out := make([]string, len(parts))
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil {
			return nil, fmt.Errorf("read path: %w", err)
		}
		out[i] = s
	}
	return out, nil
}
