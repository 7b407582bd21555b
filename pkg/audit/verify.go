package audit

import (
	"context"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// page is the number of entries that Verify holds at once: an event has at most 64 KiB.
const page = 256

// VerifyOptions of Verify. The zero value verifies the chain alone.
type VerifyOptions struct {
	// Expect is a head that was remembered outside of the log: the log must reach it, and that entry must be the same.
	// Without it, a log whose newest entries were cut off is a valid, shorter log.
	Expect Head
	// Progress, if set, is told after every page how many entries were found sound, and how many there are in all.
	Progress func(done, total int64)
}

// Verify walks the whole log and recomputes every hash. It returns the head that it found to be sound, to be
// remembered for the next time. The first broken link is a *Broken (errors.As), of kind errkind.Invalid; the head is
// then that of the last sound entry.
func Verify(ctx context.Context, log Log, opts VerifyOptions) (Head, error) {
	end, err := log.Head(ctx)
	if err != nil {
		return Head{}, fmt.Errorf("verify audit log: %w", err)
	}
	var head Head
	for {
		entries, err := log.Range(ctx, head.Seq, page)
		if err != nil {
			return head, fmt.Errorf("verify audit log: %w", err)
		}
		for _, e := range entries {
			if why := link(head, e, opts.Expect); why != "" {
				return head, broken(head.Seq+1, why)
			}
			head = Head{Seq: e.Seq, Hash: e.Hash}
		}
		if opts.Progress != nil && len(entries) > 0 {
			opts.Progress(head.Seq, max(end.Seq, head.Seq))
		}
		if len(entries) < page {
			break
		}
	}
	if head.Seq < opts.Expect.Seq {
		return head, broken(head.Seq+1, fmt.Sprintf("the log ends at entry %d, it once had %d", head.Seq, opts.Expect.Seq))
	}
	return head, nil
}

// link says why e doesn't follow head; "" if it does. The order of the questions makes the answer tell removal,
// change and rewriting apart.
func link(head Head, e Entry, expect Head) string {
	switch {
	case e.Seq != head.Seq+1:
		return fmt.Sprintf("the entry is missing, the next one is %d", e.Seq)
	case e.Sum() != e.Hash:
		return "the entry is not what its hash says: it was changed or moved"
	case e.Prev != head.Hash:
		return "the entry does not follow the one before it: one of the two was replaced"
	case e.Seq == expect.Seq && e.Hash != expect.Hash:
		return "the entry is sound but is not the one that was remembered: the log was rewritten"
	}
	return ""
}

func broken(seq int64, why string) error {
	return errkind.New(errkind.Invalid, "verify: %w", &Broken{Seq: seq, Reason: why})
}
