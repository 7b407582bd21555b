package gcsdoc

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// media is the XML API's GET of an object.
func (s *Server) media(w http.ResponseWriter, r *http.Request, path []string) {
	o, err := s.mediaOf(r, path)
	if err != nil {
		e, ok := err.(*apiError) //nolint:errorlint // made here
		if !ok {
			e = invalid("%v", err)
		}
		xmlError(w, e)
		return
	}
	h := w.Header()
	o.headers(h)
	data := o.data
	if o.props.ContentEncoding == "gzip" && (s.lies.Decompress || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")) {
		if plain, err := gunzip(data); err == nil { // decompressive transcoding: ranges are ignored
			h.Del("Content-Encoding")
			h.Set("Warning", "214 UploadServer gunzipped")
			_, _ = w.Write(plain)
			return
		}
	}
	first, last, ok := rangeOf(r.Header.Get("Range"), int64(len(data)))
	switch {
	case !ok:
		w.Header().Del("X-Goog-Hash")
		xmlError(w, &apiError{http.StatusRequestedRangeNotSatisfiable, "", "InvalidRange", "The requested range cannot be satisfied."})
		return
	case r.Header.Get("Range") != "":
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(data)))
		h.Set("Content-Length", strconv.FormatInt(last-first+1, 10))
		w.WriteHeader(http.StatusPartialContent)
		data = data[first : last+1]
	default:
		h.Set("Content-Length", strconv.Itoa(len(data)))
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(data)
	}
}

// mediaOf is a copy of the object that a GET asks for.
func (s *Server) mediaOf(r *http.Request, path []string) (*object, error) {
	if len(path) != 2 || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, &apiError{http.StatusMethodNotAllowed, "", "MethodNotAllowed", "The specified method is not allowed against this resource."}
	}
	name, err := url.PathUnescape(path[1])
	if err != nil {
		return nil, invalid("path: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(path[0])
	if err != nil {
		return nil, err
	}
	generation := r.URL.Query().Get("generation")
	if s.lies.IgnoreRead {
		generation = ""
	}
	o, err := b.find(path[0], name, generation)
	if err != nil {
		return nil, err
	}
	conditions := url.Values{}
	for header, parameter := range map[string]string{
		"X-Goog-If-Generation-Match": "ifGenerationMatch", "X-Goog-If-Metageneration-Match": "ifMetagenerationMatch",
	} {
		if v := r.Header.Get(header); v != "" {
			conditions.Set(parameter, v)
		}
	}
	if err := s.check(conditions, "if", o, s.lies.IgnoreRead); err != nil {
		return nil, err
	}
	c := *o
	return &c, nil
}

func (o *object) headers(h http.Header) {
	for name, v := range map[string]string{
		"Content-Type": o.props.ContentType, "Content-Encoding": o.props.ContentEncoding, "Content-Language": o.props.ContentLanguage,
		"Content-Disposition": o.props.ContentDisposition, "Cache-Control": o.props.CacheControl,
	} {
		if v != "" {
			h.Set(name, v)
		}
	}
	if o.props.ContentType == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	if o.props.CacheControl == "" {
		h.Set("Cache-Control", "private, max-age=0")
		h.Set("Expires", time.Now().UTC().Format(http.TimeFormat))
	}
	for k, v := range o.props.Metadata {
		h.Add("X-Goog-Meta-"+k, ascii(v))
	}
	stored, etag := "identity", "-"+o.etag()
	if o.props.ContentEncoding != "" {
		stored = o.props.ContentEncoding
	}
	h.Set("X-Goog-Hash", "crc32c="+o.crc())
	if sum := o.md5(); sum != "" {
		h.Add("X-Goog-Hash", "md5="+sum)
		etag = hexOf(sum)
	}
	h.Set("Etag", `"`+etag+`"`)
	h.Set("X-Goog-Stored-Content-Encoding", stored)
	h.Set("X-Goog-Stored-Content-Length", strconv.Itoa(len(o.data)))
	h.Set("X-Goog-Generation", strconv.FormatInt(o.generation, 10))
	h.Set("X-Goog-Metageneration", strconv.FormatInt(o.metageneration, 10))
	h.Set("Last-Modified", o.updated.Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
}

// ascii is what is left of a text in a header; what GCS does to the rest is not documented.
func ascii(v string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, v)
}

func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err //nolint:wrapcheck // its caller only wants to know whether
	}
	return io.ReadAll(io.LimitReader(r, maxBody)) //nolint:wrapcheck // its caller only wants to know whether
}

// rangeOf reads "bytes=A-B" and "bytes=A-".
func rangeOf(header string, size int64) (first, last int64, ok bool) {
	if header == "" {
		return 0, size - 1, true
	}
	from, to, _ := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first >= size {
		return 0, 0, false
	}
	last = size - 1
	if n, err := strconv.ParseInt(to, 10, 64); err == nil {
		last = min(last, n)
	}
	return first, last, last >= first
}

func xmlError(w http.ResponseWriter, e *apiError) {
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.Header().Del("Content-Encoding")
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: e.code, Message: e.message})
}

// hexOf is base64 as hex.
func hexOf(s string) string {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(raw)
}
