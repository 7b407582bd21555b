package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Sizes of contents, bytes.
const (
	smallest      = 64
	largeSize     = 24 << 20
	largePartSize = 8 << 20
)

// User metadata that every write of the workload carries. An object thus says which operation set its metadata, and its
// body says which operation made its bytes; both are unique in a run. Azure takes identifiers only, so all names are.
const (
	metaOp   = "e2e_op"   // the operation that set the metadata
	metaBody = "e2e_body" // the operation that made the bytes
	metaNote = "note"     // any value
)

// bodyOf is the content of an operation: a line that says what it is, then bytes that only the seed and the number determine.
func bodyOf(seed uint64, op, size int) []byte {
	b := make([]byte, 0, size+8)
	b = fmt.Appendf(b, "bucketmesh e2e seed=%d op=%d size=%d\n", seed, op, size)
	r := rand.New(rand.NewPCG(seed, uint64(op)))
	for len(b) < size {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:size]
}

// identify says which operation made the bytes. The whole content is compared, so a torn or cut object is found.
func identify(seed uint64, b []byte) (op int, err error) {
	line, _, ok := bytes.Cut(b[:min(len(b), 200)], []byte("\n"))
	if !ok {
		return 0, fmt.Errorf("content of %d bytes has no first line", len(b))
	}
	fields := strings.Fields(string(line))
	if len(fields) != 5 || fields[0] != "bucketmesh" {
		return 0, fmt.Errorf("content begins with %q", line)
	}
	op, err = strconv.Atoi(strings.TrimPrefix(fields[3], "op="))
	if err != nil {
		return 0, fmt.Errorf("content begins with %q", line)
	}
	size, err := strconv.Atoi(strings.TrimPrefix(fields[4], "size="))
	if err != nil {
		return 0, fmt.Errorf("content begins with %q", line)
	}
	if len(b) != size {
		return op, fmt.Errorf("content of operation %d has %d bytes, want %d", op, len(b), size)
	}
	if !bytes.Equal(b, bodyOf(seed, op, size)) {
		return op, fmt.Errorf("content of operation %d is not what was written", op)
	}
	return op, nil
}
