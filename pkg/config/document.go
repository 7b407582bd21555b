package config

// The types of this file are the document as a person writes it: the decoder, the JSON Schema and the reference in
// docs/configuration.md are all derived from them. The comment of a field is its description in the schema. A pointer
// tells "left out" from the zero value.

type document struct {
	// Version of this format.
	APIVersion string `json:"apiVersion" jsonschema:"enum=bucketmesh.dev/v1alpha1"`
	// What the document describes.
	Kind string `json:"kind" jsonschema:"enum=SyncGroup"`
	// Name of the group, and what Kubernetes tools add to it.
	Metadata metadata `json:"metadata"`
	// What is kept the same, and how.
	Spec spec `json:"spec"`
}

type metadata struct {
	// Name of the group, a DNS label. State, events and metrics carry it; a renamed group is a new group.
	Name string `json:"name" jsonschema:"minLength=1,maxLength=63,pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"`
	// Kubernetes namespace. Only Kubernetes tools look at it.
	Namespace string `json:"namespace,omitempty"`
	// Kubernetes labels. Only Kubernetes tools look at them.
	Labels map[string]string `json:"labels,omitempty"`
	// Kubernetes annotations. Only Kubernetes tools look at them.
	Annotations map[string]string `json:"annotations,omitempty"`
}

type spec struct {
	// The buckets, or prefixes of buckets, that are kept the same. At least one is ReadWrite.
	Replicas []replica `json:"replicas" jsonschema:"minItems=2,maxItems=32"`
	// Which keys take part.
	Filter *filter `json:"filter,omitempty"`
	// What happens to keys that were written in two places at once. The first rule that matches a key decides. A list without a final rule for "**" gets one with keep-both.
	Conflicts []conflictRule `json:"conflicts,omitempty" jsonschema:"minItems=1,maxItems=256"`
	// What happens to deletes.
	Deletes *deletes `json:"deletes,omitempty"`
	// Limits of copying, per process.
	Transfer *transfer `json:"transfer,omitempty"`
	// Anti-entropy: the comparison of listings that finds what notifications missed.
	Scan *scan `json:"scan,omitempty"`
}

type replica struct {
	// Name of the replica, a DNS label that is unique in the group. A renamed replica is a new replica.
	Name string `json:"name" jsonschema:"minLength=1,maxLength=63,pattern=^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"`
	// Where the replica is: s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX], azblob://ACCOUNT/CONTAINER[/PREFIX] or mem://BUCKET[/PREFIX], with the parameters of its scheme. Never holds credentials.
	URL string `json:"url" jsonschema:"minLength=1,maxLength=2048,pattern=^(s3|gs|azblob|mem)://[^/?#@]+(/[^?#]*)?(\\?[^#]*)?$"`
	// ReadWrite: users write here, and changes go to the other replicas. ReadOnly: a copy; what users write here loses against the group and is kept as a conflict copy.
	Mode string `json:"mode,omitempty" jsonschema:"enum=ReadWrite,enum=ReadOnly,default=ReadWrite"`
	// Run ReadWrite on a bucket that has neither conditional writes nor versions: a user's write in the moment of a copy can be lost.
	AcceptLossWindow *bool `json:"acceptLossWindow,omitempty" jsonschema:"default=false"`
	// How changes of the bucket are told. Without it, by whatever was set up by hand.
	Notifications *notifications `json:"notifications,omitempty"`
}

type notifications struct {
	// What "bucketmesh notifications install" makes the bucket notify. s3: the ARN of an SQS queue, an SNS topic or a webhook of MinIO, or eventbridge. gs: projects/P/topics/T. azblob: the https URL of a webhook, without its secret, or the resource id of a Storage Queue.
	Target string `json:"target,omitempty" jsonschema:"maxLength=2048"`
	// The queue that is drained for changes. s3: the URL of an SQS queue. gs: projects/P/subscriptions/S. azblob: the URL of a Storage Queue. Replicas may share one.
	Pull string `json:"pull,omitempty" jsonschema:"maxLength=2048"`
	// gs: the Pub/Sub subscription that pushes to the normalizer, projects/P/subscriptions/S; "bucketmesh notifications check" looks at it.
	Subscription string `json:"subscription,omitempty" jsonschema:"maxLength=2048"`
	// azblob: the resource id of the storage account; required with a target.
	Scope string `json:"scope,omitempty" jsonschema:"maxLength=2048"`
}

type filter struct {
	// Patterns of the keys that take part.
	Include []string `json:"include,omitempty" jsonschema:"minItems=1,maxItems=256,minLength=1,maxLength=1024,default=**"`
	// Patterns of the keys that do not take part, even if they are included.
	Exclude []string `json:"exclude,omitempty" jsonschema:"minItems=1,maxItems=256,minLength=1,maxLength=1024"`
}

type conflictRule struct {
	// Pattern of the keys that the rule is for.
	Match string `json:"match" jsonschema:"minLength=1,maxLength=1024"`
	// Who wins, and what is kept: see docs/conflicts.md.
	Policy string `json:"policy" jsonschema:"enum=keep-both,enum=last-writer-wins,enum=primary,enum=largest,enum=edit-wins,enum=delete-wins,enum=quorum,enum=cel,enum=merge,enum=manual,enum=webhook"`
	// Replica names, best first; required by primary, as a policy or as a fallback, and refused with others. Replicas that are left out come last, as listed in spec.replicas.
	Order []string `json:"order,omitempty" jsonschema:"minItems=1,maxItems=32,uniqueItems=true"`
	// last-writer-wins: do not keep the writes that lose.
	Discard *bool `json:"discard,omitempty" jsonschema:"default=false"`
	// cel: an expression that ranks one write, as a number or true and false; the highest wins. It knows head.replica, head.kind, head.size, head.writtenAt, head.holders and replicas.
	Expression string `json:"expression,omitempty" jsonschema:"minLength=1,maxLength=2048"`
	// quorum, merge, manual, webhook: the policy that decides if this one does not. The writes that lose are kept.
	Fallback string `json:"fallback,omitempty" jsonschema:"enum=keep-both,enum=last-writer-wins,enum=primary,enum=largest,enum=edit-wins,enum=delete-wins,default=keep-both"`
	// manual, webhook: how long a decision is waited for, from 1s to 720h. The default is 72h for manual and 1m for webhook.
	Deadline *duration `json:"deadline,omitempty"`
	// merge: what the contents are; auto tells it from the key and the content type.
	Format string `json:"format,omitempty" jsonschema:"enum=auto,enum=json,enum=text,enum=csv,enum=ndjson,default=auto"`
	// merge: the largest content that is merged, bytes: from 1KiB to 64MiB.
	MaxSize *size `json:"maxSize,omitempty" jsonschema_extras:"default=4MiB"`
	// webhook: the https URL that is asked, without a secret in it; http for addresses of this machine only.
	URL string `json:"url,omitempty" jsonschema:"minLength=1,maxLength=2048"`
	// webhook: name of the secret that verdicts are signed with, which is in the environment: for NAME in BUCKETMESH_NAME_VERDICT_SECRET.
	Secret string `json:"secret,omitempty" jsonschema:"minLength=1,maxLength=32,pattern=^[A-Za-z][A-Za-z0-9_-]*$"`
}

type deletes struct {
	// Carry deletes to the other replicas. Otherwise they keep what they have.
	Propagate *bool `json:"propagate,omitempty" jsonschema:"default=true"`
	// Stop and ask when more keys are deleted than the larger of the two limits.
	Brake *brake `json:"brake,omitempty"`
	// How long a delete waits before it is carried on, so that a mass delete is recognised before its first one goes: up to 10m, 0s does not wait. A group of no more keys than brake.keys never waits.
	Hold *duration `json:"hold,omitempty" jsonschema:"default=5s"`
	// What becomes of an object that a lifecycle rule of one bucket removes. propagate: it is deleted like by a user. ignore: the others keep it, and it comes back there when it is written anew; only S3 and its likes tell of expiries, so that elsewhere, and if the notification is lost, it is a delete.
	Lifecycle string `json:"lifecycle,omitempty" jsonschema:"enum=propagate,enum=ignore,default=propagate"`
	// How long an object that a carried delete takes away can be brought back by "bucketmesh undelete": up to 8760h, 0s keeps nothing. A versioned bucket keeps it as a version; elsewhere it is copied first, to .bucketmesh/quarantine/.
	Quarantine *duration `json:"quarantine,omitempty" jsonschema:"default=168h"`
}

type brake struct {
	// Number of deletes that is always let through.
	Keys *int `json:"keys,omitempty" jsonschema:"minimum=0,maximum=1000000000,default=20"`
	// Share of the keys of the group, in percent, that is let through. 100 sets no limit.
	Percent *int `json:"percent,omitempty" jsonschema:"minimum=0,maximum=100,default=25"`
	// Time within which deletes are counted: from 1m to 168h.
	Within *duration `json:"within,omitempty" jsonschema:"default=1h"`
	// Number of deletes in one minute of the clock that is let through, whatever the share. 0 is no limit.
	PerMinute *int `json:"perMinute,omitempty" jsonschema:"minimum=0,maximum=1000000000,default=0"`
}

type transfer struct {
	// Size of the parts of large objects, bytes: from 5MiB to 5GiB.
	PartSize *size `json:"partSize,omitempty" jsonschema_extras:"default=16MiB"`
	// Parts and small objects that are copied at the same time.
	Parallel *int `json:"parallel,omitempty" jsonschema:"minimum=1,maximum=64,default=8"`
	// Bytes per second of all copies together: from 1KiB to 1TiB, or 0 for no limit.
	Bandwidth *size `json:"bandwidth,omitempty" jsonschema_extras:"default=0"`
}

type scan struct {
	// Time between two scans: from 1m to 720h.
	Every *duration `json:"every,omitempty" jsonschema:"default=24h"`
}

// size is a number of bytes as it was written: 16MiB, 16Mi, 16MB, 16777216.
type size string

// duration is a time.Duration as it was written: 24h, 1h30m.
type duration string
