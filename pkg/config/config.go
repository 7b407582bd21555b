// Package config reads the SyncGroup document: strictly, so that a mistake is refused when it is made, with the path
// of the field, the value and the mend.
//
// Errors are of kind errkind.Invalid and wrap Mistakes: every mistake that was found, not just the first, sorted by path.
// A secret that somebody put into the document by mistake is refused without being repeated. A loaded Group is a value
// that is not changed any more; it is safe for concurrent use. The package does no I/O but for LoadFile.
package config

import "time"

// Identity of the document.
const (
	APIVersion = "bucketmesh.dev/v1alpha1"
	Kind       = "SyncGroup"
)

// Mode of a replica.
type Mode string

// The modes.
const (
	ReadWrite Mode = "ReadWrite" // users write here; changes go to the other replicas
	ReadOnly  Mode = "ReadOnly"  // a copy: what users write here loses against the group and is kept as a conflict copy
)

// Group is a loaded and validated SyncGroup: defaults filled in, quantities and durations parsed.
type Group struct {
	Name      string
	Replicas  []Replica
	Filter    Filter
	Conflicts []ConflictRule // first match wins; the last one always matches everything
	Deletes   Deletes
	Transfer  Transfer
	Scan      Scan

	matcher *matcher // set by Load; a Group made by hand goes without and is only slower
}

// Replica is one bucket (or a prefix of one) that takes part.
type Replica struct {
	Name     string // a DNS label, unique in the group
	URL      string // as written
	Provider string // s3, gcs, azblob, mem
	Bucket   string
	Prefix   string // "" or ends with "/"; keys of the group are relative to it
	Mode     Mode

	Region    string // s3
	Endpoint  string // a compatible server or an emulator, scheme://host[:port] in lower case; "" is the provider itself
	PathStyle bool   // s3; the default is true with an endpoint, false without
	Account   string // azblob

	// Dialect of the notifications: aws, minio, versitygw, rgw. It is not guessed from a record: versitygw says aws:s3
	// and means something else.
	Dialect string
	// Credentials names the environment variables of static credentials; CredentialVariables spells them. "" is the
	// provider's own credential chain.
	Credentials      string
	AcceptLossWindow bool // run ReadWrite on a bucket that can't promise it

	Notifications Notifications
}

// Notifications says how a replica's provider tells of changes, for "bucketmesh notifications" and for the puller. Empty
// fields are not used: a replica without any is told of by whatever somebody set up to post to its webhook.
type Notifications struct {
	// Target is what the bucket is told to notify: the ARN of an SQS queue, an SNS topic or a webhook of MinIO, or
	// "eventbridge" (s3); projects/P/topics/T (gcs); the https URL of a webhook, or the resource id of a Storage Queue (azblob).
	Target string
	// Pull is the queue that the puller drains: the URL of an SQS queue (s3), projects/P/subscriptions/S (gcs), the URL of a
	// Storage Queue (azblob).
	Pull string
	// Subscription is the Pub/Sub subscription that pushes to the normalizer, projects/P/subscriptions/S. It is checked only.
	Subscription string
	// Scope is the resource id of the storage account, /subscriptions/.../storageAccounts/A (azblob with a Target).
	Scope string
}

// Source is the CloudEvents source of the replica's bucket: an absolute URI that is unique per store and bucket.
func (r Replica) Source() string {
	switch {
	case r.Provider == "s3" && r.Endpoint != "":
		return r.Endpoint + "/" + r.Bucket
	case r.Provider == "s3":
		return "https://s3." + r.Region + ".amazonaws.com/" + r.Bucket
	case r.Provider == "gcs" && r.Endpoint != "":
		return r.Endpoint + "/" + r.Bucket
	case r.Provider == "gcs":
		return "https://storage.googleapis.com/" + r.Bucket
	case r.Provider == "azblob" && r.Endpoint != "":
		return r.Endpoint + "/" + r.Account + "/" + r.Bucket
	case r.Provider == "azblob":
		return "https://" + r.Account + ".blob.core.windows.net/" + r.Bucket
	}
	return r.Provider + "://" + r.Bucket
}

// Filter selects keys by patterns; Group.Match asks it.
type Filter struct {
	Include []string
	Exclude []string
}

// Policy of a conflict.
type Policy string

// The policies.
const (
	KeepBoth       Policy = "keep-both"
	LastWriterWins Policy = "last-writer-wins"
	Primary        Policy = "primary"
	Largest        Policy = "largest"
	EditWins       Policy = "edit-wins"
	DeleteWins     Policy = "delete-wins"
	Quorum         Policy = "quorum"
	CEL            Policy = "cel"
	Merge          Policy = "merge"
	Manual         Policy = "manual"
	Webhook        Policy = "webhook"
)

// HasFallback reports whether the policy may come to no decision of its own.
func (p Policy) HasFallback() bool {
	return p == Quorum || p == Merge || p.Asks()
}

// Asks reports whether somebody outside decides, until a deadline.
func (p Policy) Asks() bool { return p == Manual || p == Webhook }

// Format of contents that are merged.
type Format string

// The formats.
const (
	FormatAuto   Format = "auto" // by the key and the content type
	FormatJSON   Format = "json"
	FormatText   Format = "text"
	FormatCSV    Format = "csv"
	FormatNDJSON Format = "ndjson"
)

// DefaultMaxSize is the largest content that is merged, in bytes, unless the document says otherwise.
const DefaultMaxSize = 4 << 20

// ConflictRule says what happens to keys that match. Fields that the policy has no use for are zero.
type ConflictRule struct {
	Match   string
	Policy  Policy
	Order   []string // primary, also as a fallback: the names of all replicas, best first (those that the document leaves out come last)
	Discard bool     // last-writer-wins: do not keep the losers

	Expression string        // cel: what ranks a head
	Fallback   Policy        // quorum, merge, manual, webhook: who decides if they do not; one of the first six
	Deadline   time.Duration // manual, webhook: until when
	Format     Format        // merge
	MaxSize    int64         // merge: bytes; larger contents are not merged
	URL        string        // webhook: where the question is sent
	Secret     string        // webhook: the name of the secret that verdicts are signed with; SecretVariable spells it
}

// Deletes of the group.
type Deletes struct {
	Propagate  bool
	Brake      Brake
	Hold       time.Duration // how long a delete waits before it is carried on; 0 does not wait
	Lifecycle  Lifecycle     // what becomes of objects that expire by a rule of one bucket
	Quarantine time.Duration // how long what deletes take away is kept; 0 keeps nothing
}

// Lifecycle says what an expiry by a rule of a bucket is.
type Lifecycle string

// What an expiry is.
const (
	LifecyclePropagate Lifecycle = "propagate" // a delete like a user's
	LifecycleIgnore    Lifecycle = "ignore"    // the bucket's own affair: the others keep the object
)

// Brake stops mass deletes: within Within more than max(Keys, Percent of the group's keys), or more than PerMinute in a minute.
type Brake struct {
	Keys      int
	Percent   int
	Within    time.Duration
	PerMinute int // 0 is off
}

// Transfer limits.
type Transfer struct {
	PartSize  int64 // bytes
	Parallel  int   // parts (and small objects) under way at once
	Bandwidth int64 // bytes per second, 0 is unlimited
}

// Scan is anti-entropy.
type Scan struct {
	Every time.Duration
}
