package gcsdoc

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSources, maxBody and maxMetadata are limits of the API.
const (
	maxSources  = 32
	maxBody     = 64 << 20 // of this server
	maxMetadata = 8 << 10
)

// json answers in the JSON API's form.
func (s *Server) json(w http.ResponseWriter, call func() (any, error)) {
	answer, err := call()
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	status := http.StatusOK
	if err != nil {
		e, ok := err.(*apiError) //nolint:errorlint // made here
		if !ok {
			e = invalid("%v", err)
		}
		status = e.status
		answer = map[string]any{"error": map[string]any{
			"code": e.status, "message": e.message, "errors": []any{map[string]any{"message": e.message, "domain": "global", "reason": e.reason}},
		}}
	} else if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// upload is a multipart upload: the resource, then the bytes, in one request.
func (s *Server) upload(r *http.Request, bucketName string) (any, error) {
	q := r.URL.Query()
	if q.Get("uploadType") != "multipart" {
		return nil, invalid("this server takes uploads of one request only")
	}
	var meta struct {
		properties
		Name    string `json:"name"`
		CRC32C  string `json:"crc32c"`
		MD5Hash string `json:"md5Hash"`
	}
	data, err := readUpload(r, &meta)
	if err != nil {
		return nil, invalid("%v", err)
	}
	if q.Has("name") {
		meta.Name = q.Get("name")
	}
	if err := checkObject(meta.Name, meta.properties); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(bucketName)
	if err != nil {
		return nil, err
	}
	if err := s.check(q, "if", b.live(meta.Name), s.lies.IgnorePut); err != nil {
		return nil, err
	}
	o := &object{bucket: bucketName, name: meta.Name, data: data, props: meta.properties}
	switch {
	case s.lies.StoreOtherBytes && len(data) > 0:
		data[0]++
	case meta.CRC32C != "" && meta.CRC32C != o.crc():
		return nil, invalid("Provided CRC32C %q doesn't match calculated CRC32C %q.", meta.CRC32C, o.crc())
	case meta.MD5Hash != "" && meta.MD5Hash != o.md5():
		return nil, invalid("Provided MD5 hash %q doesn't match calculated MD5 hash %q.", meta.MD5Hash, o.md5())
	}
	return s.push(b, o).resource(), nil
}

func readUpload(r *http.Request, meta any) ([]byte, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err //nolint:wrapcheck // becomes an answer
	}
	parts := multipart.NewReader(http.MaxBytesReader(nil, r.Body, maxBody), params["boundary"])
	p, err := parts.NextPart()
	if err != nil {
		return nil, err //nolint:wrapcheck // becomes an answer
	}
	if err := json.NewDecoder(p).Decode(meta); err != nil {
		return nil, err //nolint:wrapcheck // becomes an answer
	}
	if p, err = parts.NextPart(); err != nil {
		return nil, err //nolint:wrapcheck // becomes an answer
	}
	data, err := io.ReadAll(p)
	if err != nil {
		return nil, err //nolint:wrapcheck // becomes an answer
	}
	if _, err := parts.NextPart(); err != io.EOF {
		return nil, invalid("the body is not complete")
	}
	return data, nil
}

func checkObject(name string, p properties) error {
	size := 0
	for k, v := range p.Metadata {
		size += len(k) + len(v)
	}
	switch {
	case name == "" || len(name) > 1024 || strings.ContainsAny(name, "\r\n") || name == "." || name == "..":
		return invalid("The name %q is not valid.", name)
	case size > maxMetadata:
		return invalid("The metadata is larger than %d bytes.", maxMetadata)
	}
	return nil
}

func (s *Server) get(q url.Values, bucketName, name string) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(bucketName)
	if err != nil {
		return nil, err
	}
	o, err := b.find(bucketName, name, q.Get("generation"))
	if err != nil {
		return nil, err
	}
	if err := s.check(q, "if", o, false); err != nil {
		return nil, err
	}
	return o.resource(), nil
}

// patch edits the metadata: the generation stays, the metageneration grows.
func (s *Server) patch(r *http.Request, bucketName, name string) (any, error) {
	var change struct {
		ContentType  *string            `json:"contentType"`
		CacheControl *string            `json:"cacheControl"`
		Metadata     map[string]*string `json:"metadata"`
	}
	if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
		return nil, invalid("%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(bucketName)
	if err != nil {
		return nil, err
	}
	o, err := b.find(bucketName, name, r.URL.Query().Get("generation"))
	if err != nil {
		return nil, err
	}
	if err := s.check(r.URL.Query(), "if", o, false); err != nil {
		return nil, err
	}
	if change.ContentType != nil {
		o.props.ContentType = *change.ContentType
	}
	if change.CacheControl != nil {
		o.props.CacheControl = *change.CacheControl
	}
	meta := maps.Clone(o.props.Metadata)
	for k, v := range change.Metadata {
		if meta == nil {
			meta = map[string]string{}
		}
		if v == nil {
			delete(meta, k)
		} else {
			meta[k] = *v
		}
	}
	o.props.Metadata = meta
	o.metageneration++
	o.updated = time.Now().UTC()
	return o.resource(), nil
}

// remove deletes the live generation, or the named one for good.
func (s *Server) remove(q url.Values, bucketName, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(bucketName)
	if err != nil {
		return err
	}
	o, err := b.find(bucketName, name, q.Get("generation"))
	if err != nil {
		return err
	}
	if err := s.check(q, "if", o, s.lies.IgnoreDelete); err != nil {
		return err
	}
	if q.Has("generation") {
		b.drop(o)
	} else {
		s.retire(b, o)
	}
	return nil
}

func (s *Server) compose(r *http.Request, bucketName, name string) (any, error) {
	var req struct {
		SourceObjects []struct {
			Name       string `json:"name"`
			Generation string `json:"generation"`
		} `json:"sourceObjects"`
		Destination struct {
			properties
			CRC32C string `json:"crc32c"`
		} `json:"destination"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, invalid("%v", err)
	}
	if n := len(req.SourceObjects); n < 1 || n > maxSources {
		return nil, invalid("The number of source components provided (%d) exceeds the maximum (%d).", n, maxSources)
	}
	if err := checkObject(name, req.Destination.properties); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(bucketName)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	components := 0
	for _, src := range req.SourceObjects {
		o, err := b.find(bucketName, src.Name, src.Generation)
		if err != nil {
			return nil, err
		}
		data.Write(o.data)
		components += max(1, o.components)
	}
	if err := s.check(r.URL.Query(), "if", b.live(name), s.lies.IgnoreCompose); err != nil {
		return nil, err
	}
	o := &object{bucket: bucketName, name: name, data: data.Bytes(), components: components, props: req.Destination.properties}
	if sum := req.Destination.CRC32C; sum != "" && sum != o.crc() {
		return nil, invalid("Provided CRC32C %q doesn't match calculated CRC32C %q.", sum, o.crc())
	}
	return s.push(b, o).resource(), nil
}

// rewrite copies in two steps when asked a first time, as it does with large objects.
func (s *Server) rewrite(r *http.Request, srcBucket, src, dstBucket, dst string) (any, error) {
	var meta properties
	if err := json.NewDecoder(r.Body).Decode(&meta); err != nil {
		return nil, invalid("%v", err)
	}
	if err := checkObject(dst, meta); err != nil {
		return nil, err
	}
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	from, err := s.bucket(srcBucket)
	if err != nil {
		return nil, err
	}
	to, err := s.bucket(dstBucket)
	if err != nil {
		return nil, err
	}
	o, err := from.find(srcBucket, src, q.Get("sourceGeneration"))
	if err != nil {
		return nil, err
	}
	if err := s.check(q, "ifSource", o, s.lies.IgnoreRewrite); err != nil {
		return nil, err
	}
	if err := s.check(q, "if", to.live(dst), s.lies.IgnoreRewrite); err != nil {
		return nil, err
	}
	size := strconv.Itoa(len(o.data))
	token := "token-" + strconv.FormatInt(o.generation, 10)
	switch q.Get("rewriteToken") {
	case "":
		return map[string]any{
			"kind": "storage#rewriteResponse", "done": false, "objectSize": size, "totalBytesRewritten": "0", "rewriteToken": token,
		}, nil
	case token:
	default:
		return nil, invalid("The rewrite token does not belong to this request.")
	}
	c := s.push(to, &object{bucket: dstBucket, name: dst, data: o.data, components: o.components, props: meta})
	return map[string]any{
		"kind": "storage#rewriteResponse", "done": true, "objectSize": size, "totalBytesRewritten": size, "resource": c.resource(),
	}, nil
}

// list is a page of a listing. A page token is the name and generation that the page begins with.
func (s *Server) list(q url.Values, bucketName string) (any, error) {
	limit := 1000
	if n, err := strconv.Atoi(q.Get("maxResults")); err == nil && n > 0 {
		limit = min(limit, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(bucketName)
	if err != nil {
		return nil, err
	}
	items, next := []any{}, ""
	for _, name := range slices.Sorted(maps.Keys(b.objects)) {
		before := q.Get("endOffset") == "" || name < q.Get("endOffset")
		if !strings.HasPrefix(name, q.Get("prefix")) || name < q.Get("startOffset") || !before {
			continue
		}
		for _, o := range b.objects[name] {
			if q.Get("versions") != "true" && !o.deleted.IsZero() {
				continue
			}
			place := url.Values{"name": {name}, "generation": {strconv.FormatInt(o.generation, 10)}}
			if token, err := url.ParseQuery(q.Get("pageToken")); err == nil && q.Get("pageToken") != "" {
				if at := token.Get("name"); name < at || name == at && place.Get("generation") < token.Get("generation") {
					continue
				}
			}
			if len(items) == limit {
				next = place.Encode()
				break
			}
			items = append(items, o.resource())
		}
		if next != "" {
			break
		}
	}
	answer := map[string]any{"kind": "storage#objects", "items": items}
	if next != "" {
		answer["nextPageToken"] = next
	}
	return answer, nil
}
