package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Audit is the audit log in the same file. Triggers refuse every change but the next entry. Whoever can write the file
// can drop them; Verify is what finds that out.
type Audit struct{ s *Store }

var _ audit.Log = (*Audit)(nil)

// Audit is the store's audit log. It ends with the store.
func (s *Store) Audit() *Audit { return &Audit{s} }

// Append implements audit.Log.
func (a *Audit) Append(ctx context.Context, e audit.Event) error {
	_, err := a.AppendBatch(ctx, []audit.Event{e})
	return err
}

// AppendBatch implements audit.Log.
func (a *Audit) AppendBatch(ctx context.Context, es []audit.Event) (added int, err error) {
	for _, e := range es {
		if err := audit.Check(e); err != nil {
			return 0, err
		}
	}
	if len(es) == 0 {
		return 0, nil
	}
	err = a.s.w.do(ctx, func(ctx context.Context) error {
		added = 0 // the transaction may be tried again
		head, err := scanHead(a.s.write.auditHead.QueryRowContext(ctx))
		if err != nil {
			return err
		}
		for _, e := range es {
			var known bool
			if err := a.s.write.auditKnown.QueryRowContext(ctx, e.Source, e.ID).Scan(&known); err != nil {
				return fmt.Errorf("look for event: %w", err)
			}
			if known {
				continue
			}
			n := audit.Next(head, e, a.s.now())
			if _, err := a.s.write.auditAppend.ExecContext(ctx, n.Seq, n.Source, n.ID, n.Type, n.Subject,
				record.Nanos(n.Time), record.Nanos(n.Recorded), []byte(n.JSON), n.Prev[:], n.Hash[:]); err != nil {
				return fmt.Errorf("append entry: %w", err)
			}
			head = audit.Head{Seq: n.Seq, Hash: n.Hash}
			added++
		}
		return nil
	})
	if err != nil {
		return 0, classify("append to audit log", err)
	}
	return added, nil
}

// Range implements audit.Log.
func (a *Audit) Range(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	rows, err := a.s.read.audit.QueryContext(ctx, after, record.Limit(limit))
	if err != nil {
		return nil, classify("read audit log", err)
	}
	return collect("read audit log", rows, func() (audit.Entry, error) {
		var e audit.Entry
		var at, recorded int64
		var event, prev, hash []byte
		err := rows.Scan(&e.Seq, &e.Source, &e.ID, &e.Type, &e.Subject, &at, &recorded, &event, &prev, &hash)
		e.Time, e.Recorded, e.JSON = record.Time(at), record.Time(recorded), event
		e.Prev, e.Hash = audit.HashOf(prev), audit.HashOf(hash)
		return e, err
	})
}

// Head implements audit.Log.
func (a *Audit) Head(ctx context.Context) (audit.Head, error) {
	head, err := scanHead(a.s.read.auditHead.QueryRowContext(ctx))
	return head, classify("read audit head", err)
}

func scanHead(row *sql.Row) (head audit.Head, err error) {
	var hash []byte
	err = row.Scan(&head.Seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return audit.Head{}, nil
	}
	head.Hash = audit.HashOf(hash)
	return head, err
}
