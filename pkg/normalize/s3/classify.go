package s3

import (
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/event"
)

// class is what an event name means.
type class struct {
	typ       string // event type; "" with ignore set
	change    string // of metadata updates
	marker    bool   // a delete marker was put on top
	lifecycle bool   // the bucket's own rules did it, not a user
	ignore    string // why the name is passed over
}

var (
	written   = class{typ: event.ObjectWritten}
	deleted   = class{typ: event.ObjectDeleted}
	unknown   = class{typ: event.Unrecognized}
	deletedBy = class{typ: event.ObjectDeleted, lifecycle: true}
)

func metadata(change string) class { return class{typ: event.ObjectMetadataUpdated, change: change} }

// names are the event names of all dialects, without "s3:". A delete that names a version is told apart by classify.
var names = map[string]class{
	"ObjectCreated:Put":                     written,
	"ObjectCreated:Post":                    written, // RGW also says so when a multipart upload starts: a look settles it
	"ObjectCreated:Copy":                    written,
	"ObjectCreated:CompleteMultipartUpload": written,

	// MinIO calls these created. They are no writes.
	"ObjectCreated:PutTagging":    metadata("tags"),
	"ObjectCreated:DeleteTagging": metadata("tags"),
	"ObjectCreated:PutRetention":  metadata("retention"),
	"ObjectCreated:PutLegalHold":  metadata("legalhold"),

	"ObjectTagging:Put":       metadata("tags"),
	"ObjectTagging:Delete":    metadata("tags"),
	"ObjectAcl:Put":           metadata("acl"),
	"ObjectAnnotation:Put":    metadata("annotation"),
	"ObjectAnnotation:Delete": metadata("annotation"),

	"ObjectRestore:Post":      metadata("restore"),
	"ObjectRestore:Completed": metadata("restore"),
	"ObjectRestore:Delete":    metadata("restore"),

	"LifecycleTransition":                   tiered,
	"IntelligentTiering":                    metadata("tier"),
	"ObjectTransition:Complete":             tiered, // MinIO
	"ObjectTransition:Failed":               {ignore: "transition failed: nothing changed"},
	"ObjectLifecycle:Transition:Current":    tiered, // RGW
	"ObjectLifecycle:Transition:NonCurrent": {ignore: "transition of a noncurrent version"},

	"ObjectRemoved:Delete":              deleted,
	"ObjectRemoved:DeleteObjects":       deleted, // versitygw: one key of a multi-object delete
	"ObjectRemoved:DeleteMarkerCreated": {typ: event.ObjectDeleted, marker: true},
	"ObjectRemoved:DeleteAllVersions":   deletedBy, // MinIO, by lifecycle only
	"ObjectRemoved:NoOP":                {ignore: "delete of what was not there"},

	"LifecycleExpiration:Delete":              deletedBy,
	"LifecycleExpiration:DeleteMarkerCreated": {typ: event.ObjectDeleted, marker: true, lifecycle: true},
	"LifecycleDelMarkerExpiration:Delete":     {typ: event.ObjectVersionDeleted, lifecycle: true}, // MinIO

	"ObjectLifecycle:Expiration:Current":              deletedBy, // RGW
	"ObjectLifecycle:Expiration:NonCurrent":           {typ: event.ObjectVersionDeleted, lifecycle: true},
	"ObjectLifecycle:Expiration:DeleteMarker":         {typ: event.ObjectVersionDeleted, lifecycle: true},
	"ObjectLifecycle:Expiration:AbortMultipartUpload": {ignore: "abandoned upload: nothing changed"},

	// RGW: another zone's change arrived here.
	"ObjectSynced:Create":                written,
	"ObjectSynced:Delete":                deleted,
	"ObjectSynced:DeletionMarkerCreated": {typ: event.ObjectDeleted, marker: true},
}

var tiered = class{typ: event.ObjectMetadataUpdated, change: "tier", lifecycle: true}

// classify says what an event name (with or without "s3:") with a version id means. Names that nobody told us of are
// unrecognized: audit keeps them, and nothing acts on them.
func classify(name, version string) (bare string, c class) {
	bare = strings.TrimPrefix(name, "s3:")
	if strings.HasPrefix(bare, "ObjectAccessed:") {
		return bare, class{ignore: "access"}
	}
	c, ok := names[bare]
	if !ok {
		return bare, unknown
	}
	// A delete that names a version removed that version, which may be a delete marker: then the object is back.
	if c.typ == event.ObjectDeleted && !c.marker && version != "" && bare != "ObjectRemoved:DeleteAllVersions" {
		c.typ = event.ObjectVersionDeleted
	}
	return bare, c
}
