package demo

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// Notification is what a server said of itself, as far as the demo looks into it.
type Notification struct {
	Site    string
	Key     string
	MD5     string // of the contents, hexadecimal; "" if it is not told, and for a delete
	Deleted bool
	At      time.Time // when it came
}

// read understands what was posted to a path. It is deliberately not the product's decoder: the demo must not see with the
// eyes of what it checks. What it does not understand is not ours to judge; the normalizer gets it.
func read(path string, body []byte, at time.Time) []Notification {
	var found []Notification
	for prefix, decode := range map[string]func([]byte) []Notification{
		s3.PathPrefix: readS3, gcs.PathPrefix: readPubSub, azure.PathPrefix: readEventGrid,
	} {
		site, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		for _, n := range decode(body) {
			n.Site, n.At = site, at
			found = append(found, n)
		}
	}
	return found
}

// readS3: the ETag of an object that was written at once is the MD5 of its bytes.
func readS3(body []byte) []Notification {
	var message struct {
		Records []struct {
			EventName string `json:"eventName"`
			S3        struct {
				Object struct {
					Key  string `json:"key"`
					ETag string `json:"eTag"`
				} `json:"object"`
			} `json:"s3"`
		}
	}
	if err := json.Unmarshal(body, &message); err != nil {
		return nil
	}
	var out []Notification
	for _, r := range message.Records {
		switch {
		case strings.Contains(r.EventName, "ObjectCreated:"):
			out = append(out, Notification{Key: r.S3.Object.Key, MD5: md5OfETag(r.S3.Object.ETag)})
		case strings.Contains(r.EventName, "ObjectRemoved:"):
			out = append(out, Notification{Key: r.S3.Object.Key, Deleted: true})
		}
	}
	return out
}

// readPubSub reads a wrapped push, which is of one change. What was overwritten is told of, too, and is no delete.
func readPubSub(body []byte) []Notification {
	var push struct {
		Message struct {
			Attributes map[string]string
			Data       []byte
		}
	}
	if err := json.Unmarshal(body, &push); err != nil {
		return nil
	}
	a := push.Message.Attributes
	switch a["eventType"] {
	case "OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE":
		var object struct{ MD5Hash []byte }
		if err := json.Unmarshal(push.Message.Data, &object); err != nil {
			return nil
		}
		return []Notification{{Key: a["objectId"], MD5: hex.EncodeToString(object.MD5Hash)}}
	case "OBJECT_DELETE", "OBJECT_ARCHIVE":
		if a["overwrittenByGeneration"] == "" {
			return []Notification{{Key: a["objectId"], Deleted: true}}
		}
	}
	return nil
}

// readEventGrid: nothing is told of the bytes.
func readEventGrid(body []byte) []Notification {
	var events []struct{ EventType, Subject string }
	if err := json.Unmarshal(body, &events); err != nil {
		return nil
	}
	var out []Notification
	for _, e := range events {
		_, key, ok := strings.Cut(e.Subject, "/blobs/")
		switch {
		case !ok:
		case e.EventType == "Microsoft.Storage.BlobCreated":
			out = append(out, Notification{Key: key})
		case e.EventType == "Microsoft.Storage.BlobDeleted":
			out = append(out, Notification{Key: key, Deleted: true})
		}
	}
	return out
}
