package main

// Everything in a state is a small number, so that a state can be copied, compared and written as a few dozen bytes.
// Replicas are 0, 1, 2; users' contents are numbered from 1, 0 is absence; serials tell the states of objects apart, nonces
// our writes; versions are places in the row, from 1, 0 is the genesis.

const (
	maxReplicas = 3
	maxVersions = 14
	maxIntents  = 6
	maxLates    = 4
	maxOps      = 6
	maxWorkers  = 3
	maxKnown    = 6
	joiner      = 3 // the place of the synchronizer in vectors
)

// object is what a bucket holds, and the truth about it that no synchronizer can see.
type object struct {
	content, serial, nonce uint8
	time                   uint8 // by the provider's clock
	past                   uint8 // user operations that this state follows
	claim                  uint8 // past, and what a resolution or join that was proven by a look added to it
}

// mark is a fingerprint.
type mark struct {
	content, serial, nonce uint8
	told                   bool // the modification time is known
}

// holding is what the row says of a replica.
type holding struct {
	version, tentative uint8
	print              mark
	over               uint8 // serial that our write was meant to replace
	status             uint8
}

type vector [4]uint8

// ver is a version. Its id is its origin with its own dot there.
type ver struct {
	vector, lineage, may vector
	content, origin, hlc uint8
	// what the lineage is
	hasLineage, supposed, joined bool
}

const (
	leaseLive uint8 = iota
	leaseEnded
	leaseNever // of a fault: an intent without a lease
)

type intent struct {
	nonce, replica, version uint8
	expect                  mark
	lease                   uint8
}

// late is a state.Late. It is kept for as long as the write can land, or was not seen by who looks.
type late struct {
	nonce, replica, content uint8
	lineage                 vector
}

// row is a state.Row. A key without a row has revision 0; its counters stay, because real dots follow the clock.
type row struct {
	missing  bool
	nv, ni   uint8
	nl       uint8
	replicas [maxReplicas]holding
	versions [maxVersions]ver
	intents  [maxIntents]intent
	lates    [maxLates]late
	counters vector
}

func (r *row) effective(i int) uint8 {
	if h := r.replicas[i]; h.tentative != 0 {
		return h.tentative
	}
	return r.replicas[i].version
}

func (r *row) live(replica int) bool {
	for _, it := range r.intents[:r.ni] {
		if int(it.replica) == replica && it.lease == leaseLive {
			return true
		}
	}
	return false
}

func (r *row) intent(nonce uint8) (intent, bool) {
	for _, it := range r.intents[:r.ni] {
		if it.nonce == nonce {
			return it, true
		}
	}
	return intent{}, false
}

// The places of a worker: the await that it is at.
const (
	idle     uint8 = iota
	looking        // line 2
	deciding       // the commit of line 3, together with 5a
	finding        // line 5d, before that commit
	reading        // 5b
	writing        // 5c
	storing        // 5e
	dropping       // the commit after a read that failed
	opening        // 4a: the pinned read of a loser
	keeping        // 4a and 4b: its copy
	settling       // 4c
)

// The ends of a write.
const (
	unsent uint8 = iota
	written
	refused    // its condition did not hold
	unanswered // nobody knows
	forbidden  // the replica does not take it
	left       // the replica wants to be left in peace
)

type order struct {
	replica, nonce, end uint8
	expect              mark
	serial              uint8 // of what was written
}

// loser is a head that is being kept.
type loser struct {
	replica uint8
	print   mark
}

// worker is one call of the engine.
type worker struct {
	at    uint8
	stale bool // the row changed since it was read
	full  bool // looks at every replica, not at the hint's alone
	hint  uint8
	out   uint8 // replicas that are not asked again in this call
	known [maxKnown]uint8
	nk    uint8 // nonces of requests of this call that have surely ended

	seen, unknown, broken, found uint8 // masks of replicas; broken: the engine wrote there since the look; found: 5d was done
	late                         uint8 // mask of intents whose lease ended after the first look
	looks                        [maxReplicas]object

	target  uint8 // in the row, if that is not stale
	content uint8
	truth   uint8
	source  uint8
	pin     mark
	loose   bool // something else has to be done after the writes
	no      uint8
	orders  [maxReplicas - 1]order

	retry  bool // after dropping: look again
	nl     uint8
	losers [maxReplicas - 1]loser
	hand   uint8 // content of the loser that is being kept
}

// kept is an old object that a user can restore, with our nonce in its metadata.
type kept struct{ replica, content, nonce uint8 }

// lower is the version below the current one of a versioned bucket.
type lower struct{ content, serial uint8 }

// world is a state of everything.
type world struct {
	row       row
	truth     [maxVersions]uint8 // by version of the row: the operations that it really follows
	buckets   [maxReplicas]object
	below     [maxReplicas]lower
	preserved uint16 // contents in conflict copies
	no        uint8  // operations so far
	ops       [maxOps]operation
	hidden    uint8 // deletes of what the row did not know to be there (R2)
	unseen    uint8 // operations that led to an absence which a create of ours took for another one (R2)
	revived   uint8 // contents that such a create brought back: they count as written by a user again (R2)
	blind     uint8 // operations that an ETag condition did not see (R6)
	nh        uint8
	history   [maxOps]kept
	fault     [maxReplicas]uint8
	crashes   uint8 // left
	losses    uint8
	faults    uint8
	workers   [maxWorkers]worker

	serials, nonces uint8 // in use: new ones come after them
}

type operation struct {
	content uint8 // 0: a delete
	past    uint8
	replica uint8
}

// Faults of replicas.
const (
	healthy  uint8 = iota
	silent         // answers no look and no read
	readOnly       // refuses writes
)
