package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Audit is the audit log in the same database. A trigger refuses UPDATE, DELETE and TRUNCATE. The tables' owner can
// drop it; Verify is what finds that out.
type Audit struct{ s *Store }

var _ audit.Log = (*Audit)(nil)

// Audit is the store's audit log. It ends with the store.
func (s *Store) Audit() *Audit { return &Audit{s} }

const (
	// The chain has one end, so appends go one after the other. The lock ends with the transaction (poolers may stand
	// in between), belongs to the schema, and is a statement of its own: the next one must see what the last holder did.
	auditLock  = `SELECT pg_advisory_xact_lock(hashtextextended('bucketmesh audit ' || current_schema(), 0))`
	auditHead  = `SELECT seq, hash FROM bm_audit ORDER BY seq DESC LIMIT 1`
	auditKnown = `SELECT a.source, a.id FROM bm_audit a JOIN unnest($1::text[], $2::text[]) AS n (source, id)
		ON a.source = n.source AND a.id = n.id`
	auditAppend = `INSERT INTO bm_audit (seq, source, id, type, subject, time, recorded, event, prev, hash)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
			$8::bytea[], $9::bytea[], $10::bytea[])`
)

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
	err = a.s.repeat(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, a.s.pool, func(tx pgx.Tx) error {
			var err error
			added, err = a.append(ctx, tx, es)
			return err
		})
	})
	if err != nil {
		return 0, classify("append to audit log", err)
	}
	return added, nil
}

type name struct{ source, id string }

func (a *Audit) append(ctx context.Context, tx pgx.Tx, es []audit.Event) (int, error) {
	head, known, err := a.lock(ctx, tx, es)
	if err != nil {
		return 0, err
	}
	n := len(es)
	seqs, sources, ids, types, subjects := make([]int64, 0, n), make([]string, 0, n), make([]string, 0, n), make([]string, 0, n), make([]string, 0, n)
	times, recorded := make([]int64, 0, n), make([]int64, 0, n)
	events, prevs, hashes := make([][]byte, 0, n), make([][]byte, 0, n), make([][]byte, 0, n)
	for _, e := range es {
		if known[name{e.Source, e.ID}] {
			continue
		}
		known[name{e.Source, e.ID}] = true
		n := audit.Next(head, e, a.s.o.Now())
		seqs, sources, ids = append(seqs, n.Seq), append(sources, n.Source), append(ids, n.ID)
		types, subjects = append(types, n.Type), append(subjects, n.Subject)
		times, recorded = append(times, record.Nanos(n.Time)), append(recorded, record.Nanos(n.Recorded))
		events, prevs, hashes = append(events, n.JSON), append(prevs, n.Prev[:]), append(hashes, n.Hash[:])
		head = audit.Head{Seq: n.Seq, Hash: n.Hash}
	}
	if len(seqs) == 0 {
		return 0, nil
	}
	_, err = tx.Exec(ctx, auditAppend, seqs, sources, ids, types, subjects, times, recorded, events, prevs, hashes)
	return len(seqs), err
}

// lock takes the turn to append, and reads what it needs to know, in one round trip.
func (a *Audit) lock(ctx context.Context, tx pgx.Tx, es []audit.Event) (head audit.Head, known map[name]bool, err error) {
	sources, ids := make([]string, len(es)), make([]string, len(es))
	for i, e := range es {
		sources[i], ids[i] = e.Source, e.ID
	}
	known = make(map[name]bool, len(es))
	var b pgx.Batch
	b.Queue(auditLock)
	b.Queue(auditHead).QueryRow(func(row pgx.Row) error {
		head, err = scanHead(row)
		return err
	})
	b.Queue(auditKnown, sources, ids).Query(func(rows pgx.Rows) error {
		var n name
		_, err := pgx.ForEachRow(rows, []any{&n.source, &n.id}, func() error {
			known[n] = true
			return nil
		})
		return err
	})
	return head, known, tx.SendBatch(ctx, &b).Close()
}

// Range implements audit.Log.
func (a *Audit) Range(ctx context.Context, after int64, limit int) ([]audit.Entry, error) {
	entries, err := all(ctx, a.s, func(r pgx.CollectableRow) (audit.Entry, error) {
		var e audit.Entry
		var at, recorded int64
		var event, prev, hash []byte
		err := r.Scan(&e.Seq, &e.Source, &e.ID, &e.Type, &e.Subject, &at, &recorded, &event, &prev, &hash)
		e.Time, e.Recorded, e.JSON = record.Time(at), record.Time(recorded), event
		e.Prev, e.Hash = audit.HashOf(prev), audit.HashOf(hash)
		return e, err
	}, `SELECT seq, source, id, type, subject, time, recorded, event, prev, hash FROM bm_audit
		WHERE seq > $1 ORDER BY seq LIMIT $2`, after, record.Limit(limit))
	return entries, classify("read audit log", err)
}

// Head implements audit.Log.
func (a *Audit) Head(ctx context.Context) (head audit.Head, err error) {
	err = a.s.repeat(ctx, func(ctx context.Context) error {
		head, err = scanHead(a.s.pool.QueryRow(ctx, auditHead))
		return err
	})
	return head, classify("read audit head", err)
}

func scanHead(row pgx.Row) (head audit.Head, err error) {
	var hash []byte
	err = row.Scan(&head.Seq, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return audit.Head{}, nil
	}
	head.Hash = audit.HashOf(hash)
	return head, err
}
