package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kind of an operation.
type kind string

// The kinds. Which one is done in the end depends on what is there: deleting, copying or editing what is absent puts it instead.
const (
	opPut       kind = "put"
	opDelete    kind = "delete"
	opCopy      kind = "copy"
	opEdit      kind = "edit"
	opMultipart kind = "multipart"
)

// operation is one planned operation of the workload. Its number is its identity.
type operation struct {
	number      int
	at          time.Duration // after the start of the workload
	replica     int
	kind        kind
	key         string
	from        string // copy: the source key
	size        int
	conditional bool // If-Match what was seen just before
	keepMeta    bool // copy: the metadata of the source are kept, those of bucketmesh with them
	contentType string
	note        string
}

// planOptions say what is planned.
type planOptions struct {
	seed      uint64
	count     int
	first     int // number of the first operation
	replicas  []traits
	multipart int
	keys      []string
	over      time.Duration
}

// contentTypes are what writers set.
var contentTypes = []string{"text/plain", "application/json", "application/octet-stream", "image/png", "text/csv; charset=utf-8"}

// makePlan draws the operations from the seed. Keys are skewed, so that some are written all the time, and one operation in twelve
// has a twin: another replica writes the same key at the same moment. Without that, replication would be too quick for
// conflicts.
func makePlan(o planOptions) []operation {
	r := rand.New(rand.NewPCG(o.seed, uint64(o.first)))
	ops := make([]operation, 0, o.count)
	for len(ops) < o.count {
		op := drawOperation(r, &o)
		ops = append(ops, op)
		if r.IntN(12) == 0 && len(ops) < o.count {
			twin := drawOperation(r, &o)
			twin.key, twin.at = op.key, op.at+time.Duration(r.IntN(8))*time.Millisecond
			twin.replica = (op.replica + 1 + r.IntN(len(o.replicas)-1)) % len(o.replicas)
			ops = append(ops, twin)
		}
	}
	slices.SortStableFunc(ops, func(a, b operation) int { return cmp.Compare(a.at, b.at) })
	for _, i := range r.Perm(len(ops))[:min(o.multipart, len(ops))] {
		ops[i].kind, ops[i].size = opMultipart, largeSize
		ops[i].key = o.keys[r.IntN(max(1, len(o.keys)/16))] // few keys are large, or copies would take all the time
	}
	for i := range ops {
		op := &ops[i]
		op.number = o.first + i
		switch t := o.replicas[op.replica]; {
		case t.versioned:
		case t.exact:
			op.conditional = true
		default:
			op.conditional, op.keepMeta = true, false
			if op.kind == opCopy { // the server does not know conditions on the target of a copy: it has to be a new key
				op.key = fmt.Sprintf("copies/%06d.bin", op.number)
			}
		}
	}
	return ops
}

func drawOperation(r *rand.Rand, o *planOptions) operation {
	op := operation{
		at: time.Duration(r.Int64N(int64(o.over) + 1)), replica: r.IntN(len(o.replicas)), key: drawKey(r, o.keys), from: drawKey(r, o.keys),
		conditional: r.IntN(2) == 0, keepMeta: r.IntN(3) == 0,
		contentType: contentTypes[r.IntN(len(contentTypes))], note: fmt.Sprintf("n %x", r.Uint32()),
	}
	switch n := r.IntN(100); {
	case n < 56:
		op.kind = opPut
	case n < 70:
		op.kind = opDelete
	case n < 84:
		op.kind = opEdit
	default:
		op.kind = opCopy
	}
	op.size = smallest + r.IntN(8<<10)
	if r.IntN(20) == 0 {
		op.size = 64<<10 + r.IntN(1<<20)
	}
	return op
}

// drawKey is skewed: a third of the operations is for one key in forty.
func drawKey(r *rand.Rand, keys []string) string {
	if hot := len(keys) / 40; hot > 0 && r.IntN(3) == 0 {
		return keys[len(keys)-1-r.IntN(hot)]
	}
	return keys[r.IntN(len(keys))]
}

// keySpace is the keys of the workload: what tools, encodings and file systems get wrong is among them.
func keySpace(n int) []string {
	shapes := []string{
		"plain/%d.txt", "with space/%d .txt", "plus+plus/%d+1.txt", "percent%%/100%%25-%d", "größe/日本-%d.txt", "emoji/🪣%d",
		"q?a=b&c=d/%d#x", "deep/a/b/c/d/e/%d", "quote\"s'/%d", "UPPER/%d.TXT", "upper/%d.txt", "tilde~/%d~", "brace{%d}", "semi;colon:%d,x",
		" lead/%d", "star*/%d", "a=%d", "paren(%d)", "dollar$/%d@x", "back`tick/%d",
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(shapes[i%len(shapes)], i)
	}
	return keys
}
