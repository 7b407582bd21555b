// Package state is the memory of the synchronizer: one row per (group, key), changed only by compare-and-set, with an
// outbox and a dirty set that change in the same transaction. Package state holds the types and the Store interface and
// does no I/O; the stores are in its subpackages (sqlite, postgres), and statetest is the suite that all of them pass.
//
// Errors: Commit returns errkind.Conflict when the row is not at the revision that the caller read, and nothing was
// changed. Unavailable and Unknown errors leave it open whether the transaction happened; read the row to know. Missing rows
// are no error (a row with Rev 0); missing conflicts are NotFound.
//
// Concurrency: a Store may be used from many goroutines and many processes. Rows are values: a caller may change what
// it got, but shares the *version.Version in it, which are immutable.
package state

import (
	"context"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Row is all that is known of one key of one group.
type Row struct {
	Group    string                          `json:"-"`
	Key      string                          `json:"-"`
	Rev      int64                           `json:"-"` // 0: there is no row
	Versions map[version.ID]*version.Version `json:"versions,omitempty"`
	Counters version.Vector                  `json:"ctr,omitempty"` // last dot given, per replica and for the synchronizer
	Replicas map[string]Replica              `json:"replicas,omitempty"`
	Intents  []Intent                        `json:"intents,omitempty"`
	Pending  string                          `json:"conflict,omitempty"` // id of a conflict that was detected and is not resolved yet
	Told     []Told                          `json:"told,omitempty"`     // versions that still have to be looked up
	Late     []Late                          `json:"late,omitempty"`     // writes of ours that may yet land although their intents ended
	Held     bool                            `json:"held,omitempty"`     // a delete of the key waits for the delete brake

	// AsOf is when a missing row was read, as the highest revision of the rows that had been removed by then. It is not part of the
	// row. A Commit that would create the row is refused if it, or another one of its shard of keys, came and went since (R8).
	AsOf int64 `json:"-"`

	// DirtyMark names the key's dirty entry as Get saw it; 0: there was none. It is not part of the row: Rows leaves it 0
	// and Commit doesn't store it. Whoever makes, replaces or repeats an entry gives it a mark that the key never had
	// before, so that Commit can tell a wake-up that came after Get, to which the work in hand is no answer.
	DirtyMark int64 `json:"-"`
}

// Replica is what one replica held when we last looked.
type Replica struct {
	Version   version.ID  `json:"v,omitempty"`    // "": genesis
	Tentative version.ID  `json:"tent,omitempty"` // an equal-content version, to be confirmed by a later look
	Print     Fingerprint `json:"fp"`
	LastSeq   string      `json:"seq,omitempty"` // sequence of the last notification that told of this state
	RequestID string      `json:"rid,omitempty"` // of our own write, to know its echo
	EchoDue   bool        `json:"echo,omitempty"`
	Over      string      `json:"over,omitempty"` // version id that our own write was meant to replace
	Status    Status      `json:"status,omitempty"`
	Detail    string      `json:"detail,omitempty"` // why the status is not ok
}

// Told is a version that a notification told of, and that nobody could look up yet: a write of ours may have replaced it without
// having seen it.
type Told struct {
	Replica   string `json:"r"`
	VersionID string `json:"ver"`
}

// Late is a write of ours whose intent a user's write has ended, and whose lease lasts: it may yet land. Its condition may hold once more
// (absence has no generation, and identical bytes have the same tag), or a driver that stands in for conditions may die before it takes it back.
type Late struct {
	Replica  string          `json:"r"`
	Nonce    string          `json:"nonce"`
	Until    time.Time       `json:"lease"`
	Lineage  version.Vector  `json:"lineage"` // of the content that it brings
	Content  version.Content `json:"content"`
	MetaHash string          `json:"meta,omitempty"`
}

// Fingerprint detects change. A write is guarded by Tag alone.
type Fingerprint struct {
	Present        bool   `json:"present,omitempty"`
	Tag            string `json:"tag,omitempty"`
	VersionID      string `json:"ver,omitempty"`
	Metageneration string `json:"mg,omitempty"`
	ModTime        int64  `json:"mtime,omitempty"` // unix nanoseconds; 0: not told (the answer to our own PUT)
	MetaHash       string `json:"meta,omitempty"`
	Nonce          string `json:"nonce,omitempty"` // our nonce in the object's metadata
}

// Status of a key at a replica.
type Status string

// The statuses. The zero value is StatusOK.
const (
	StatusOK         Status = ""
	StatusUnreadable Status = "unreadable" // it is there and can't be read (archived, no permission)
	StatusRefused    Status = "refused"    // the replica can't hold it (key or attributes)
	StatusEvicted    Status = "evicted"    // its version expired there by a rule of the bucket, and is not brought back
)

// Intent says that somebody is about to write version Version at a replica, with Nonce in its metadata.
type Intent struct {
	Nonce      string      `json:"nonce"`
	Replica    string      `json:"r"`
	Version    version.ID  `json:"v"`
	Expect     Fingerprint `json:"expect"`
	LeaseUntil time.Time   `json:"lease"`
	UploadID   string      `json:"upload,omitempty"` // multipart upload to abort if the lease ends
	Owner      string      `json:"owner,omitempty"`
}

// Effects are what else happens in the transaction of a Commit. No wake-up is lost to it: a dirty entry whose mark is
// not Row.DirtyMark came after the row was read, and neither goes nor becomes due later. That is also so for an entry
// that an earlier Commit of the same caller made with Dirty, which has to read the row again to know it; entries of
// Lease are no wake-ups.
type Effects struct {
	Remove     bool       // delete the row instead of writing it
	ClearDirty bool       // the key needs nothing any more: its dirty entry goes, if it is the one of Row.DirtyMark or one that Lease made
	ClearLease bool       // the dirty entry goes if it is one that Lease made
	Dirty      *time.Time // the key needs another look at this time (replaces whatever entry there is; see above for its due time)
	Attempts   int        // with Dirty: how often the key was tried without success
	Reason     string     // with Dirty: why
	Lease      *time.Time // a crash from here on must be noticed at this time: makes an entry with reason ReasonLease, unless there is an entry; not with ClearDirty or ClearLease
	Events     []OutboxEvent
	Conflicts  []Conflict // inserted, or replaced by ID
	Removed    []Removed  // inserted, or replaced by ID
}

// ReasonLease is the reason of dirty entries that Effects.Lease makes, and of no other.
const ReasonLease = "lease"

// OutboxEvent is a CloudEvent in structured JSON, to be published at least once after the commit.
type OutboxEvent struct {
	Seq  int64 // given by the store; order of commits
	ID   string
	JSON []byte
}

// Dirty is a key that needs a look.
type Dirty struct {
	Group    string    `json:"group"`
	Key      string    `json:"key"`
	Due      time.Time `json:"due"`
	Attempts int       `json:"attempts"`
	Reason   string    `json:"reason"`
	Mark     int64     `json:"-"` // names the entry as it was read, like Row.DirtyMark
}

// Loser is a version that lost a conflict.
type Loser struct {
	Version version.Version `json:"version"`
	Replica string          `json:"replica"` // where it was read
	Copy    string          `json:"copy"`    // key of the preserved copy; "" for a delete, or if the policy discards
}

// Conflict is a record for people: who wrote what where, who won, where the losers are.
type Conflict struct {
	ID       string          `json:"id"`
	Group    string          `json:"group"`
	Key      string          `json:"key"`
	State    string          `json:"state"` // detected, pending, merging, resolved, superseded
	Policy   string          `json:"policy"`
	Reason   string          `json:"reason"`
	Winner   version.Version `json:"winner"`
	WinnerAt string          `json:"winnerAt"` // replica
	Losers   []Loser         `json:"losers"`
	Base     version.Content `json:"base,omitzero"` // what all of them followed, of a merge; zero if it is not known
	Detected time.Time       `json:"detected"`
	Deadline time.Time       `json:"deadline,omitzero"` // of a pending one: then the fallback decides
	Resolved time.Time       `json:"resolved"`
}

// Open reports that the conflict is not decided yet.
func (c *Conflict) Open() bool { return slices.Contains(OpenStates(), c.State) }

// The states of a conflict.
const (
	ConflictDetected   = "detected"   // the resolver has not answered yet
	ConflictPending    = "pending"    // somebody outside was asked: a person, or a webhook
	ConflictMerging    = "merging"    // the merged content is being written
	ConflictResolved   = "resolved"   // decided: the losers are kept
	ConflictSuperseded = "superseded" // the versions changed before it was decided
)

// ConflictOpen asks Store.Conflicts for those that are not decided yet, in whatever state.
const ConflictOpen = "open"

// OpenStates are the states that it stands for.
func OpenStates() []string { return []string{ConflictDetected, ConflictPending, ConflictMerging} }

// Stats of a group. Conflicts are all records, resolved ones included.
type Stats struct {
	Keys      int64 `json:"keys"`
	Dirty     int64 `json:"dirty"`
	Outbox    int64 `json:"outbox"`
	Conflicts int64 `json:"conflicts"`
}

// Store keeps rows. See the package comment for errors and concurrency.
type Store interface {
	Guards

	// Get reads a row and its DirtyMark, both as of one moment; a key without a row is Row{Group, Key, Rev: 0, DirtyMark}.
	Get(ctx context.Context, group, key string) (Row, error)
	// Commit writes row if the stored revision still is row.Rev, with its effects, in one transaction. The new revision
	// is greater than any that this key ever had, also after the row was removed; after a removal it is 0. Conflicts
	// must be of the row's group and key.
	Commit(ctx context.Context, row Row, fx Effects) (rev int64, err error)
	// Rows returns rows with keys strictly greater than after, in byte order.
	Rows(ctx context.Context, group, after string, limit int) ([]Row, error)

	// MarkDirty enqueues keys; a key that is already due earlier stays so, but its mark changes all the same: whoever read
	// the row before must not clear what was asked for now. An entry of Lease becomes one of MarkDirty, for the same
	// reason. Many keys may take several transactions.
	MarkDirty(ctx context.Context, group string, keys []string, due time.Time, reason string) error
	// Due returns dirty keys whose time has come, earliest first.
	Due(ctx context.Context, group string, now time.Time, limit int) ([]Dirty, error)
	// NextDue is the earliest due time in the group; ok is false if nothing is dirty.
	NextDue(ctx context.Context, group string) (due time.Time, ok bool, err error)

	// Outbox returns events that were committed and not yet published, oldest first.
	Outbox(ctx context.Context, limit int) ([]OutboxEvent, error)
	// Published removes events from the outbox.
	Published(ctx context.Context, seqs []int64) error

	// Conflicts lists conflict records, newest first; state "" is all, and ConflictOpen is those of which Open is true.
	Conflicts(ctx context.Context, group, state string, limit int) ([]Conflict, error)
	// Conflict reads one record.
	Conflict(ctx context.Context, group, id string) (Conflict, error)

	// Cursor reads a named checkpoint ("" if there is none) and SetCursor writes it; "" removes it.
	Cursor(ctx context.Context, group, name string) (string, error)
	SetCursor(ctx context.Context, group, name, value string) error

	Stats(ctx context.Context, group string) (Stats, error)
	Close() error
}
