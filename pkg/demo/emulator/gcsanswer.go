package emulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// notHeld is what Cloud Storage says of a condition that does not hold.
const notHeld = "At least one of the pre-conditions you specified did not hold."

// refuse answers a request that is not carried out.
func refuse(w http.ResponseWriter, req gcsRequest, status int) {
	switch {
	case status == http.StatusNotModified:
		w.WriteHeader(status)
	case req.xml:
		code, message := "PreconditionFailed", notHeld
		if status == http.StatusNotFound {
			code, message = "NoSuchKey", "The specified key does not exist."
		}
		w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	case status == http.StatusNotFound:
		gcsError(w, status, "notFound", "No such object: "+req.target.lockName())
	default:
		gcsError(w, status, "conditionNotMet", notHeld)
	}
}

// gcsError is the error document of the JSON API.
func gcsError(w http.ResponseWriter, status int, reason, message string) {
	detail := map[string]string{"message": message, "domain": "global", "reason": reason}
	if status == http.StatusPreconditionFailed {
		detail["locationType"], detail["location"] = "header", "If-Match"
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // an answer: nobody can be told
		"error": map[string]any{"code": status, "message": message, "errors": []any{detail}},
	})
}

// fixAnswer writes the gate's metagenerations, and its own address, into an answer.
func (g *GCS) fixAnswer(resp *http.Response) error {
	if resp.StatusCode >= 300 {
		return nil
	}
	if generation, err := strconv.ParseInt(resp.Header.Get("X-Goog-Generation"), 10, 64); err == nil {
		return g.fixHeader(resp, generation)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") || resp.Request.Method == http.MethodHead {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the emulator's answer: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var doc map[string]any
	if dec.Decode(&doc) == nil {
		g.fixResource(doc)
		if b, err = json.Marshal(doc); err != nil {
			return err
		}
	}
	replaceBody(resp, b)
	return nil
}

// fixHeader is for answers that are the contents of an object. Which one is in the request.
func (g *GCS) fixHeader(resp *http.Response, generation int64) error {
	req, err := parseGCS(resp.Request, nil)
	if err != nil {
		return err
	}
	resp.Header.Set("X-Goog-Metageneration", strconv.FormatInt(g.metageneration(req.target, generation), 10))
	return nil
}

// fixResource is for an object, a list of objects, or the answer of a rewrite.
func (g *GCS) fixResource(doc map[string]any) {
	if resource, ok := doc["resource"].(map[string]any); ok {
		g.fixResource(resource)
	}
	if items, ok := doc["items"].([]any); ok {
		for _, item := range items {
			if resource, ok := item.(map[string]any); ok {
				g.fixResource(resource)
			}
		}
	}
	if doc["kind"] != "storage#object" {
		return
	}
	bucket, _ := doc["bucket"].(string)
	name, _ := doc["name"].(string)
	text, _ := doc["generation"].(string)
	if generation, err := strconv.ParseInt(text, 10, 64); err == nil && generation != 0 {
		doc["metageneration"] = strconv.FormatInt(g.metageneration(gcsObject{bucket: bucket, name: name}, generation), 10)
	}
	delete(doc, "selfLink") // they would lead around the gate
	delete(doc, "mediaLink")
}
