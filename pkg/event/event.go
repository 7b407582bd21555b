// Package event is the vocabulary: the CloudEvents that flow between the services, their types, ids, data and codec.
// It knows nothing of providers' notifications (package normalize) nor of the synchronizer (package reconcile).
//
// Errors are of kind errkind.Invalid: an event that can't be understood now can't be later. All functions are pure.
package event

import (
	"encoding/json"
	"time"
)

// Type prefixes and types, CloudEvents 1.0.
const (
	Prefix = "dev.bucketmesh."

	ObjectWritten         = Prefix + "object.written.v1"
	ObjectDeleted         = Prefix + "object.deleted.v1"
	ObjectVersionDeleted  = Prefix + "object.versiondeleted.v1"
	ObjectSuperseded      = Prefix + "object.superseded.v1"
	ObjectMetadataUpdated = Prefix + "object.metadataupdated.v1"
	ObjectRenamed         = Prefix + "object.renamed.v1"
	PrefixChanged         = Prefix + "prefix.changed.v1"
	Unrecognized          = Prefix + "unrecognized.v1"
	SyncPlanned           = Prefix + "sync.planned.v1"
	SyncApplied           = Prefix + "sync.applied.v1"
	SyncSuperseded        = Prefix + "sync.superseded.v1"
	SyncFailed            = Prefix + "sync.failed.v1"
	TransferPart          = Prefix + "transfer.part.v1"
	TransferCompleted     = Prefix + "transfer.completed.v1"
	ConflictDetected      = Prefix + "conflict.detected.v1"
	ConflictResolved      = Prefix + "conflict.resolved.v1"
	ConflictPending       = Prefix + "conflict.pending.v1"
	ScanRequested         = Prefix + "scan.requested.v1"
	ScanRange             = Prefix + "scan.range.v1"
	GuardTripped          = Prefix + "guard.tripped.v1"
)

// Ping is the type of what a Knative PingSource sends, which nobody can have it change. A timer that asks for a scan is one:
// the data is that of ScanRequested without a group, because whoever gets it is meant.
const Ping = "dev.knative.sources.ping"

// Extension attributes. Their values are strings only: CloudEvents integers have 32 bits.
const (
	ExtProvider     = "storeprovider" // s3, gcs, azure
	ExtVersion      = "objversion"
	ExtSequence     = "objseq" // normalized so that string order is the provider's order within one source and subject
	ExtPartitionKey = "partitionkey"
	ExtRecordedTime = "recordedtime"
	ExtGroup        = "syncgroup" // on sync.* and conflict.*
)

// MaxSize is the largest event in bytes, structured JSON; native is cut so that an event stays below.
const MaxSize = 64 << 10

// Object is the data of object.* events: what a provider said about one change of one object.
type Object struct {
	Provider           string            `json:"provider"`
	Bucket             string            `json:"bucket"`
	Key                string            `json:"key"`                 // authoritative, UTF-8
	KeyBase64          string            `json:"keyBase64,omitempty"` // set if the key is not valid UTF-8; then Key is a lossy rendering
	Version            string            `json:"version,omitempty"`
	Generation         string            `json:"generation,omitempty"`
	Metageneration     string            `json:"metageneration,omitempty"`
	PreviousGeneration string            `json:"previousGeneration,omitempty"`
	ETag               string            `json:"etag,omitempty"` // unquoted
	ETagKind           string            `json:"etagKind,omitempty"`
	Size               *string           `json:"size" jsonschema:"nullable"` // decimal, or null
	ContentType        string            `json:"contentType,omitempty"`
	Checksums          map[string]string `json:"checksums,omitempty"`
	StorageClass       string            `json:"storageClass,omitempty"`
	Operation          string            `json:"operation"`        // the provider's name of it: Put, Copy, CompleteMultipartUpload, Delete, ...
	Change             string            `json:"change,omitempty"` // metadataupdated: metadata|tags|acl|retention|legalhold|annotation|tier|restore
	Replaced           *bool             `json:"replaced" jsonschema:"nullable"`
	DeleteMarker       bool              `json:"deleteMarker,omitempty"`
	Lifecycle          bool              `json:"lifecycle,omitempty"`
	Rename             *Rename           `json:"rename,omitempty"`
	RequestID          string            `json:"requestID,omitempty"`
	SequencerRaw       string            `json:"sequencerRaw,omitempty"`
	EventTimeRaw       string            `json:"eventTimeRaw,omitempty"`
	Native             json.RawMessage   `json:"native,omitempty"`
	NativeNote         string            `json:"nativeNote,omitempty"` // why native was cut
}

// Rename is the data of object.renamed.
type Rename struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Sync is the data of sync.* events.
type Sync struct {
	Group    string    `json:"group"`
	Key      string    `json:"key"`
	Version  string    `json:"version"`                        // version id of the target
	Kind     string    `json:"kind"`                           // put, delete
	Origin   string    `json:"origin"`                         // replica where it was written
	Replicas []string  `json:"replicas" jsonschema:"nullable"` // replicas that this step wrote
	Size     string    `json:"size,omitempty"`                 // bytes, decimal
	ETag     string    `json:"etag,omitempty"`
	Written  time.Time `json:"written,omitzero"` // when the user wrote it, by the provider's clock
	Applied  time.Time `json:"applied,omitzero"` // when this step was committed
	Reason   string    `json:"reason,omitempty"` // of failed and superseded
	Error    string    `json:"error,omitempty"`  // of failed: the kind of the error
	Attempts int       `json:"attempts,omitempty"`
}

// Conflict is the data of conflict.* events. The record itself is in the state store.
type Conflict struct {
	Group  string   `json:"group"`
	Key    string   `json:"key"`
	ID     string   `json:"id"`
	Heads  []string `json:"heads" jsonschema:"nullable"` // version ids
	Winner string   `json:"winner,omitempty"`
	Policy string   `json:"policy,omitempty"`
	Copies []string `json:"copies,omitempty"` // keys of preserved losers
	Reason string   `json:"reason,omitempty"`

	Versions []ConflictVersion `json:"versions,omitempty"` // pending: what is to be decided
	Deadline time.Time         `json:"deadline,omitzero"`  // pending: then the fallback of the rule decides

	// Again is not told. It makes the id that of another event, where the same is announced once more on purpose: a broker drops what
	// has the id of an event that it had a moment ago.
	Again time.Time `json:"-"`
}

// ConflictVersion is one of the versions that are in conflict.
type ConflictVersion struct {
	ID      string    `json:"id"`
	Replica string    `json:"replica"`
	Kind    string    `json:"kind"`             // put, delete
	Size    string    `json:"size,omitempty"`   // bytes, decimal
	MD5     string    `json:"md5,omitempty"`    // lower-case hex, if it is known
	SHA256  string    `json:"sha256,omitempty"` // lower-case hex, if it is known
	Written time.Time `json:"written,omitzero"` // by the provider's clock
}

// Guard is the data of guard.tripped: deletes are held until a person decides.
type Guard struct {
	Group   string    `json:"group"`
	Guard   string    `json:"guard"`  // delete-brake
	Reason  string    `json:"reason"` // what was too many
	Tripped time.Time `json:"tripped"`
	Waiting int64     `json:"waiting"` // deletes that are held
}

// Scan is the data of scan.requested: a timer or a person asks for a sweep of due keys, or for a backfill.
type Scan struct {
	Group string `json:"group"`
	What  string `json:"what"` // due, backfill
}

// What a Scan asks for.
const (
	ScanDue      = "due"      // the keys that wait and whose time has come
	ScanBackfill = "backfill" // everything: all listings compared with the state
)
