package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync"
)

// GCS is the gate in front of fake-gcs-server. What that does not do as Cloud Storage does, and the gate does:
//
//   - conditions on generations and metagenerations, for every request that has any, 0 ("no object") among them; what
//     is looked at and what is then done are one step for everybody who goes through the gate
//   - metagenerations: 1 for a new object, one more with each edit of its metadata, in answers of both APIs
//   - the answer to an edit is the object, as the API documents it; metadata that are set to null go; an edit of a copy does not
//     change its source; edits do not crash the server (it writes into a map that others read: the gate makes a PUT of a PATCH)
//   - a composition over an object has the properties that it asked for, not those of what was there; a source that is
//     not there is a 404
//   - the address of a resumable upload leads to the gate, and its condition holds at the end
//
// It knows uploads (media, multipart, resumable), reads, lists, PATCH and PUT of metadata, access control entries, rewrites and
// copies, compositions and deletes; reads and deletes of the XML API, too. Batches, XML writes, form uploads and edits of
// Content-Encoding are refused with 501: they would get around it. Events are the emulator's own. An archived generation has a metageneration of 1.
type GCS struct {
	upstream *url.URL
	proxy    *httputil.ReverseProxy
	locks    objectLocks

	mu      sync.Mutex
	edited  map[string]edition   // by object; what is not here has a metageneration of 1
	uploads map[string]gcsObject // resumable ones, by id
}

// edition is how often the metadata of a generation were set.
type edition struct{ generation, metageneration int64 }

// NewGCS makes a gate in front of the fake-gcs-server at http://HOST:PORT.
func NewGCS(upstream string) (*GCS, error) {
	to, proxy, err := newProxy(upstream)
	if err != nil {
		return nil, err
	}
	return &GCS{upstream: to, proxy: proxy, edited: map[string]edition{}, uploads: map[string]gcsObject{}}, nil
}

// ServeHTTP carries out one request.
func (g *GCS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		var err error
		if body, err = readBody(w, r); err != nil {
			gcsError(w, http.StatusBadRequest, "invalid", err.Error())
			return
		}
	}
	req, err := parseGCS(r, body)
	if err != nil {
		gcsError(w, http.StatusBadRequest, "invalid", err.Error())
		return
	}
	switch req.kind {
	case gcsRefused:
		gcsError(w, http.StatusNotImplemented, "notImplemented", "the gate in front of the emulator does not know requests of this form")
	case gcsOther:
		g.proxy.ServeHTTP(w, r)
	case gcsList:
		g.proxy.ServeHTTP(w, withAnswer(r, g.fixAnswer))
	case gcsBegin:
		g.proxy.ServeHTTP(w, withAnswer(r, func(resp *http.Response) error { return g.begun(resp, r.Host, req.target) }))
	case gcsChunk:
		g.chunk(w, r, req)
	case gcsRead, gcsInsert, gcsPatch, gcsDelete, gcsRewrite, gcsCompose:
		g.object(w, r, req, body)
	}
}

// chunk is a part of a resumable upload. Its last one is where the condition has to hold.
func (g *GCS) chunk(w http.ResponseWriter, r *http.Request, req gcsRequest) {
	g.mu.Lock()
	target, known := g.uploads[req.uploadID]
	if req.last {
		delete(g.uploads, req.uploadID)
	}
	g.mu.Unlock()
	if !known {
		gcsError(w, http.StatusNotFound, "notFound", "no such upload")
		return
	}
	if !req.last {
		g.proxy.ServeHTTP(w, withAnswer(r, g.fixAnswer))
		return
	}
	g.object(w, r, gcsRequest{kind: gcsInsert, target: target}, nil)
}

// object carries out a request at objects whose state must not change meanwhile.
func (g *GCS) object(w http.ResponseWriter, r *http.Request, req gcsRequest, body []byte) {
	written, read := []string{req.target.lockName()}, []string(nil)
	if req.kind == gcsRead {
		written, read = nil, written
	}
	for _, s := range req.sources {
		read = append(read, s.lockName())
	}
	unlock := g.locks.lock(written, read)
	defer unlock()

	status, err := g.check(r.Context(), req)
	if err != nil {
		gcsError(w, http.StatusBadGateway, "backendError", err.Error())
		return
	}
	if status != http.StatusOK {
		refuse(w, req, status)
		return
	}
	answer := g.fixAnswer
	switch req.kind {
	case gcsRead:
		answer = func(resp *http.Response) error { // the rest of the contents may be read slowly: the emulator keeps them
			defer unlock()
			return g.fixAnswer(resp)
		}
	case gcsPatch:
		if r, err = g.asUpdate(r, req.target, body); err != nil {
			gcsError(w, http.StatusBadGateway, "backendError", err.Error())
			return
		}
		answer = func(resp *http.Response) error { return g.patched(r.Context(), resp, req.target) }
	case gcsDelete:
		answer = func(resp *http.Response) error {
			if resp.StatusCode < 300 {
				g.forget(req.target)
			}
			return nil
		}
	case gcsCompose:
		if err := g.clear(r.Context(), req); err != nil {
			gcsError(w, http.StatusBadGateway, "backendError", err.Error())
			return
		}
	case gcsInsert, gcsRewrite, gcsOther, gcsList, gcsBegin, gcsChunk, gcsRefused:
	}
	g.proxy.ServeHTTP(w, withAnswer(r, answer))
}

// check says how a request has to be answered: 200 if it may go on. An object that is not there has the generation 0.
func (g *GCS) check(ctx context.Context, req gcsRequest) (status int, err error) {
	for _, s := range req.sources {
		generation, err := g.generation(ctx, s)
		switch {
		case err != nil:
			return 0, err
		case generation == 0:
			return http.StatusNotFound, nil
		case !s.conditions.held(generation, g.metageneration(s, generation)):
			return http.StatusPreconditionFailed, nil
		}
	}
	if !req.target.conditions.any() {
		return http.StatusOK, nil
	}
	target := req.target
	if req.kind == gcsPatch || req.kind == gcsDelete {
		target.generation = 0 // what is there now; the emulator does the rest
	}
	generation, err := g.generation(ctx, target)
	c, creates := req.target.conditions, req.kind != gcsRead && req.kind != gcsPatch && req.kind != gcsDelete
	switch metageneration := g.metageneration(target, generation); {
	case err != nil:
		return 0, err
	case generation == 0 && !creates:
		return http.StatusNotFound, nil
	case c.held(generation, metageneration):
		return http.StatusOK, nil
	case req.kind == gcsRead && (gcsConditions{generation: c.generation, metageneration: c.metageneration}).held(generation, metageneration):
		return http.StatusNotModified, nil
	}
	return http.StatusPreconditionFailed, nil
}

// objectURL is the emulator's metadata of an object.
func (g *GCS) objectURL(o gcsObject) string {
	u := g.upstream.String() + "/storage/v1/b/" + url.PathEscape(o.bucket) + "/o/" + url.PathEscape(o.name)
	if o.generation != 0 {
		u += "?generation=" + strconv.FormatInt(o.generation, 10)
	}
	return u
}

// ask sends a request of the gate's own to the emulator. A 404 is nil.
func (g *GCS) ask(ctx context.Context, method string, o gcsObject) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, g.objectURL(o), nil)
	if err != nil {
		return nil, err
	}
	resp, err := g.proxy.Transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask the emulator: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the emulator's answer: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return b, nil
	case http.StatusNotFound:
		return nil, nil
	}
	return nil, fmt.Errorf("the emulator answers %s", resp.Status)
}

// generation is that of an object, or 0 if it is not there.
func (g *GCS) generation(ctx context.Context, o gcsObject) (int64, error) {
	b, err := g.ask(ctx, http.MethodGet, o)
	if err != nil || b == nil {
		return 0, err
	}
	var resource struct {
		Generation int64 `json:"generation,string"`
	}
	if err := json.Unmarshal(b, &resource); err != nil {
		return 0, fmt.Errorf("read the emulator's answer: %w", err)
	}
	return resource.Generation, nil
}

// clear removes what a composition overwrites, which would pass its properties on. Where it is one of the sources it stays.
func (g *GCS) clear(ctx context.Context, req gcsRequest) error {
	if slices.ContainsFunc(req.sources, func(s gcsObject) bool { return s.lockName() == req.target.lockName() }) {
		return nil
	}
	_, err := g.ask(ctx, http.MethodDelete, req.target)
	return err
}

// begun remembers the condition of a resumable upload and has the upload go on through the gate.
func (g *GCS) begun(resp *http.Response, host string, target gcsObject) error {
	location, err := resp.Location()
	if err != nil {
		return nil //nolint:nilerr // an error of the emulator, which the client sees as it is
	}
	g.mu.Lock()
	g.uploads[location.Query().Get("upload_id")] = target
	g.mu.Unlock()
	location.Host = host
	for _, name := range []string{"Location", "X-Goog-Upload-Url"} {
		if resp.Header.Get(name) != "" {
			resp.Header.Set(name, location.String())
		}
	}
	return g.fixAnswer(resp)
}

// asUpdate makes an update (PUT) out of an edit (PATCH) of an object, with all of the metadata that are to be there.
func (g *GCS) asUpdate(r *http.Request, o gcsObject, body []byte) (*http.Request, error) {
	if r.Method != http.MethodPatch {
		return r, nil
	}
	b, err := g.ask(r.Context(), http.MethodGet, gcsObject{bucket: o.bucket, name: o.name})
	if err != nil || b == nil {
		return r, err
	}
	var now struct{ Metadata map[string]string }
	var edit map[string]any
	if err := errors.Join(json.Unmarshal(b, &now), json.Unmarshal(body, &edit)); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	metadata := now.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	if all, there := edit["metadata"]; there && all == nil {
		clear(metadata)
	}
	change, _ := edit["metadata"].(map[string]any)
	for k, v := range change {
		if text, ok := v.(string); ok {
			metadata[k] = text
		} else {
			delete(metadata, k)
		}
	}
	edit["metadata"] = metadata
	if body, err = json.Marshal(edit); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Method, r.Body, r.ContentLength = http.MethodPut, io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return r, nil
}

// patched counts an edit of metadata, and answers with the object.
func (g *GCS) patched(ctx context.Context, resp *http.Response, o gcsObject) error {
	if resp.StatusCode >= 300 {
		return nil
	}
	b, err := g.ask(ctx, http.MethodGet, gcsObject{bucket: o.bucket, name: o.name})
	if err != nil {
		return err
	}
	var resource struct {
		Kind       string
		Generation int64 `json:"generation,string"`
	}
	if err := json.Unmarshal(b, &resource); err != nil {
		return fmt.Errorf("read the emulator's answer: %w", err)
	}
	g.mu.Lock()
	e := g.edited[o.lockName()]
	if e.generation != resource.Generation {
		e = edition{resource.Generation, 1}
	}
	e.metageneration++
	g.edited[o.lockName()] = e
	g.mu.Unlock()
	if resp.Request.Method == http.MethodPatch || resp.Request.Method == http.MethodPut {
		if err := resp.Body.Close(); err != nil {
			return err
		}
		replaceBody(resp, b)
	}
	return g.fixAnswer(resp)
}

func (g *GCS) forget(o gcsObject) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.edited, o.lockName())
}

func (g *GCS) metageneration(o gcsObject, generation int64) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch e := g.edited[o.lockName()]; {
	case generation == 0:
		return 0
	case e.generation == generation:
		return e.metageneration
	}
	return 1
}
