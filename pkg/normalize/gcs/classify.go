package gcs

import "github.com/bucketmesh/bucketmesh/pkg/event"

// Names of changes, as notifications have them. Eventarc's are turned into these, so that a change has one id through
// whichever channel it comes.
const (
	finalize       = "OBJECT_FINALIZE"
	metadataUpdate = "OBJECT_METADATA_UPDATE"
	archive        = "OBJECT_ARCHIVE"
	remove         = "OBJECT_DELETE"
	initialize     = "OBJECT_INITIALIZE" // of zonal buckets: an appendable object was begun
)

// eventarcNames are the names of Eventarc's types.
var eventarcNames = map[string]string{
	"google.cloud.storage.object.v1.finalized":       finalize,
	"google.cloud.storage.object.v1.metadataUpdated": metadataUpdate,
	"google.cloud.storage.object.v1.archived":        archive,
	"google.cloud.storage.object.v1.deleted":         remove,
}

// class is what a name means.
type class struct {
	typ    string // event type; "" with ignore set
	change string // of metadata updates
	once   bool   // a generation has one change of this name
	ignore string // why the name is passed over
}

// classify says what a name means. links are the generations that the notification ties to the one it is of; nil if its
// channel does not tell.
//
// A delete is of a generation, and does not say whether that was the live one: in a bucket without versions it was, in
// one with versions it may be a noncurrent one that was purged. The consumer has to look. An archived generation was the
// live one; if no other took its place, the object is gone, but only Pub/Sub tells of the other one.
func classify(name string, links *links) class {
	switch name {
	case finalize:
		return class{typ: event.ObjectWritten, once: true}
	case metadataUpdate:
		return class{typ: event.ObjectMetadataUpdated, change: "metadata"}
	case archive, remove:
		c := class{typ: event.ObjectVersionDeleted, once: true}
		switch {
		case links != nil && links.overwrittenBy != "":
			c.typ = event.ObjectSuperseded
		case links != nil && name == archive:
			c.typ = event.ObjectDeleted
		}
		return c
	case initialize:
		return class{ignore: "upload that is not finished"}
	}
	return class{typ: event.Unrecognized}
}

// links are the generations before and after, "" if there is none.
type links struct{ overwrote, overwrittenBy string }
