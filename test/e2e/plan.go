package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind of an operation.
type Kind string

// The kinds. Which one is done in the end depends on what is there: deleting, copying or editing what is absent puts it instead.
const (
	OpPut       Kind = "put"
	OpDelete    Kind = "delete"
	OpCopy      Kind = "copy"
	OpEdit      Kind = "edit"
	OpMultipart Kind = "multipart"
)

// Operation is one planned operation of the workload. Its number is its identity.
type Operation struct {
	Number      int
	At          time.Duration // after the start of the workload
	Replica     int
	Kind        Kind
	Key         string
	From        string // copy: the source key
	Size        int
	Conditional bool // If-Match what was seen just before
	KeepMeta    bool // copy: the metadata of the source are kept, those of bucketmesh with them
	ContentType string
	Note        string
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
func makePlan(o planOptions) []Operation {
	r := rand.New(rand.NewPCG(o.seed, uint64(o.first)))
	ops := make([]Operation, 0, o.count)
	for len(ops) < o.count {
		op := drawOperation(r, &o)
		ops = append(ops, op)
		if r.IntN(12) == 0 && len(ops) < o.count {
			twin := drawOperation(r, &o)
			twin.Key, twin.At = op.Key, op.At+time.Duration(r.IntN(8))*time.Millisecond
			twin.Replica = (op.Replica + 1 + r.IntN(len(o.replicas)-1)) % len(o.replicas)
			ops = append(ops, twin)
		}
	}
	slices.SortStableFunc(ops, func(a, b Operation) int { return cmp.Compare(a.At, b.At) })
	for _, i := range r.Perm(len(ops))[:min(o.multipart, len(ops))] {
		ops[i].Kind, ops[i].Size = OpMultipart, largeSize
		ops[i].Key = o.keys[r.IntN(max(1, len(o.keys)/16))] // few keys are large, or copies would take all the time
	}
	for i := range ops {
		op := &ops[i]
		op.Number = o.first + i
		switch t := o.replicas[op.Replica]; {
		case t.versioned:
		case t.exact:
			op.Conditional = true
		default:
			op.Conditional, op.KeepMeta = true, false
			if op.Kind == OpCopy { // the server does not know conditions on the target of a copy: it has to be a new key
				op.Key = fmt.Sprintf("copies/%06d.bin", op.Number)
			}
		}
	}
	return ops
}

func drawOperation(r *rand.Rand, o *planOptions) Operation {
	op := Operation{
		At: time.Duration(r.Int64N(int64(o.over) + 1)), Replica: r.IntN(len(o.replicas)), Key: drawKey(r, o.keys), From: drawKey(r, o.keys),
		Conditional: r.IntN(2) == 0, KeepMeta: r.IntN(3) == 0,
		ContentType: contentTypes[r.IntN(len(contentTypes))], Note: fmt.Sprintf("n %x", r.Uint32()),
	}
	switch n := r.IntN(100); {
	case n < 56:
		op.Kind = OpPut
	case n < 70:
		op.Kind = OpDelete
	case n < 84:
		op.Kind = OpEdit
	default:
		op.Kind = OpCopy
	}
	op.Size = smallest + r.IntN(8<<10)
	if r.IntN(20) == 0 {
		op.Size = 64<<10 + r.IntN(1<<20)
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
