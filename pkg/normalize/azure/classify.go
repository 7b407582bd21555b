package azure

import (
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/event"
)

// class is what a type of event means.
type class struct {
	typ    string // event type; "" with ignore set
	change string // of metadata updates
	ignore string // why it is passed over
}

const (
	storage = "Microsoft.Storage."   // of Azure Storage
	grid    = "Microsoft.EventGrid." // about the subscription itself
)

// types are the event types of Azure Storage, without their prefix. There are none for metadata and tags.
var types = map[string]class{
	"BlobCreated":           {typ: event.ObjectWritten},
	"BlobDeleted":           {typ: event.ObjectDeleted},
	"BlobRenamed":           {typ: event.ObjectRenamed}, // with a hierarchical namespace
	"BlobTierChanged":       {typ: event.ObjectMetadataUpdated, change: "tier"},
	"BlobPropertiesUpdated": {typ: event.ObjectMetadataUpdated, change: "metadata"}, // known of the change feed

	// With a hierarchical namespace a directory is moved or removed with all that is in it, in one event.
	"DirectoryCreated": {typ: event.PrefixChanged},
	"DirectoryDeleted": {typ: event.PrefixChanged},
	"DirectoryRenamed": {typ: event.PrefixChanged},

	"AsyncOperationInitiated":        {ignore: "operation that only begins"}, // its end is another event
	"BlobInventoryPolicyCompleted":   {ignore: "policy run"},                 // what it did to objects are other events
	"LifecyclePolicyCompleted":       {ignore: "policy run"},
	"StorageTaskQueued":              {ignore: "policy run"},
	"StorageTaskCompleted":           {ignore: "policy run"},
	"StorageTaskAssignmentQueued":    {ignore: "policy run"},
	"StorageTaskAssignmentCompleted": {ignore: "policy run"},
}

// placeholders are the operations that make an empty file, whose content comes with FlushWithClose or SftpCommit: taken for
// a write, they would put an object of 0 bytes everywhere.
var placeholders = map[string]bool{"CreateFile": true, "SftpCreate": true}

// classify says what an event type with an operation means. Of BlobCreated any other operation is a write: PutBlob,
// PutBlockList, CopyBlob, FlushWithClose, SftpCommit, and whatever Azure adds. Types that nobody told us of are
// unrecognized: audit keeps them, and nothing acts on them.
func classify(typ, api string) (bare string, c class) {
	if strings.HasPrefix(typ, grid) {
		return typ, class{ignore: "event about the subscription"}
	}
	bare, ok := strings.CutPrefix(typ, storage)
	if !ok {
		return typ, class{}
	}
	c, ok = types[bare]
	switch {
	case !ok:
		c.typ = event.Unrecognized
	case c.typ == event.ObjectWritten && placeholders[api]:
		c = class{ignore: "empty placeholder"}
	}
	return bare, c
}
