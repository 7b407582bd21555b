package s3

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
)

// detail of an EventBridge event of S3.
type detail struct {
	EventVersion string `json:"event-version"` // of this structure; older events have none
	Bucket       struct {
		Name string `json:"name"`
	} `json:"bucket"`
	Object struct {
		Key       rawString `json:"key"` // raw, unlike that of a record
		Size      decimal   `json:"size"`
		ETag      string    `json:"etag"`
		VersionID string    `json:"version-id"`
		Sequencer string    `json:"sequencer"`
	} `json:"object"`
	RequestID               string `json:"request-id"`
	Reason                  string `json:"reason"`
	DeletionType            string `json:"deletion-type"`
	DestinationStorageClass string `json:"destination-storage-class"`
	DestinationAccessTier   string `json:"destination-access-tier"`
}

// detailNames gives EventBridge's detail types (and reasons) the names that records have, so that one change has one id
// through whichever channel it comes.
var detailNames = map[string]string{
	"Object Created/PutObject":               "ObjectCreated:Put",
	"Object Created/POST Object":             "ObjectCreated:Post",
	"Object Created/CopyObject":              "ObjectCreated:Copy",
	"Object Created/CompleteMultipartUpload": "ObjectCreated:CompleteMultipartUpload",
	"Object Restore Initiated":               "ObjectRestore:Post",
	"Object Restore Completed":               "ObjectRestore:Completed",
	"Object Restore Expired":                 "ObjectRestore:Delete",
	"Object Storage Class Changed":           "LifecycleTransition",
	"Object Access Tier Changed":             "IntelligentTiering",
	"Object ACL Updated":                     "ObjectAcl:Put",
	"Object Tags Added":                      "ObjectTagging:Put",
	"Object Tags Deleted":                    "ObjectTagging:Delete",
}

// decodeEventBridge adds an EventBridge event to m.
func decodeEventBridge(p *payload, body []byte, resolve Resolve, m *normalize.Message) {
	poison := func(format string, args ...any) {
		m.Poison = append(m.Poison, normalize.Poison{Raw: body, Reason: fmt.Sprintf(format, args...)})
	}
	if p.Source != "aws.s3" {
		poison("EventBridge event is from %q, not from aws.s3", p.Source)
		return
	}
	var d detail
	if err := json.Unmarshal(p.Detail, &d); err != nil {
		poison("decode EventBridge detail: %v", err)
		return
	}
	if major, _, _ := strings.Cut(d.EventVersion, "."); d.EventVersion != "" && major != "1" {
		poison("EventBridge event-version %q: only 1.x is understood", d.EventVersion)
		return
	}
	version := versionID(d.Object.VersionID)
	name, c := classifyDetail(p.DetailType, d, version)
	if c.ignore != "" {
		m.Ignore(c.ignore)
		return
	}
	store, ok := resolve(d.Bucket.Name)
	if !ok {
		poison("bucket %q is not a replica of this server", d.Bucket.Name)
		return
	}
	storageClass := d.DestinationStorageClass
	if storageClass == "" {
		storageClass = d.DestinationAccessTier
	}
	facts{
		name: name, class: c, key: string(d.Object.Key), version: version, etag: d.Object.ETag, size: d.Object.Size,
		sequencer: d.Object.Sequencer, storageClass: storageClass, requestID: d.RequestID, eventTime: p.Time, native: body,
	}.addTo(m, store)
}

func classifyDetail(detailType string, d detail, version string) (string, class) {
	switch detailType {
	case "Object Created":
		if name, ok := detailNames[detailType+"/"+d.Reason]; ok {
			return classify(name, version)
		}
		return "ObjectCreated:" + strings.ReplaceAll(d.Reason, " ", ""), written // created is created, however it was done
	case "Object Deleted":
		name := "ObjectRemoved:Delete"
		if d.Reason == "Lifecycle Expiration" {
			name = "LifecycleExpiration:Delete"
		}
		if d.DeletionType == "Delete Marker Created" {
			name += "MarkerCreated"
		}
		return classify(name, version)
	}
	if name, ok := detailNames[detailType]; ok {
		return classify(name, version)
	}
	return detailType, class{typ: event.Unrecognized}
}
