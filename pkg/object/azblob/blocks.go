package azblob

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A block is named by its upload, its number, the moment when it was sent and the MD5 of its bytes, all at fixed lengths: Azure
// wants ids of one length, tells nothing of a block but its id and its size, and commits what an id names. So a part that
// was stored twice with different bytes is two blocks, and Complete commits the one that its caller means.
const (
	uploadSize = 16
	blockSize  = uploadSize + 4 + 8 + 16
)

type block struct {
	upload string // hex, as callers know it
	number int
	sent   time.Time
	md5    [16]byte
}

func newUpload() string {
	id := make([]byte, uploadSize)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// isUpload tells whether id can be one that Begin gave.
func isUpload(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == uploadSize
}

// id is the block's id as Azure knows it.
func (b block) id() string {
	raw := make([]byte, 0, blockSize)
	upload, _ := hex.DecodeString(b.upload) // isUpload was asked
	raw = append(raw, upload...)
	raw = binary.BigEndian.AppendUint32(raw, uint32(b.number)) //nolint:gosec // 1 to 50,000
	raw = binary.BigEndian.AppendUint64(raw, uint64(b.sent.UnixNano()))
	raw = append(raw, b.md5[:]...)
	return base64.StdEncoding.EncodeToString(raw)
}

// parseBlock is the block of an id; false for one that isn't ours.
func parseBlock(id string) (block, bool) {
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) != blockSize {
		return block{}, false
	}
	b := block{
		upload: hex.EncodeToString(raw[:uploadSize]),
		number: int(binary.BigEndian.Uint32(raw[uploadSize:])),
		sent:   time.Unix(0, int64(binary.BigEndian.Uint64(raw[uploadSize+4:]))), //nolint:gosec // as it was written
	}
	copy(b.md5[:], raw[uploadSize+12:])
	return b, true
}

// etag is what Part.ETag says of the block: its MD5 and the moment.
func (b block) etag() string {
	return hex.EncodeToString(b.md5[:]) + "-" + strconv.FormatInt(b.sent.UnixNano(), 16)
}

// parsePart is the block that a caller means; false if PutPart never gave such an ETag.
func parsePart(upload string, number int, etag string) (block, bool) {
	sum, sent, _ := strings.Cut(etag, "-")
	raw, err := hex.DecodeString(sum)
	nanos, serr := strconv.ParseInt(sent, 16, 64)
	if err != nil || serr != nil || len(raw) != len(block{}.md5) {
		return block{}, false
	}
	return block{upload: upload, number: number, sent: time.Unix(0, nanos), md5: [16]byte(raw)}, true
}

// ended remembers the uploads that this process completed or aborted, the latest of them: Azure doesn't know uploads.
type ended struct {
	mu    sync.Mutex
	ids   map[string]struct{}
	order []string
}

const maxEnded = 4096

func (e *ended) add(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids == nil {
		e.ids = map[string]struct{}{}
	}
	if _, ok := e.ids[id]; ok {
		return
	}
	if len(e.order) == maxEnded {
		delete(e.ids, e.order[0])
		e.order = e.order[1:]
	}
	e.ids[id] = struct{}{}
	e.order = append(e.order, id)
}

func (e *ended) has(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.ids[id]
	return ok
}
