package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Ledger is the ledger in the same file, beside the audit log whose entries it accounts for.
type Ledger struct{ s *Store }

var _ ledger.Ledger = (*Ledger)(nil)

// Ledger is the store's ledger. It ends with the store.
func (s *Store) Ledger() *Ledger { return &Ledger{s} }

// foldChunk bounds the entries of one transaction: commits wait for it.
const foldChunk = 256

// ledgerWrites are the statements of the ledger on the writer's connection.
type ledgerWrites struct {
	begin, note                            *sql.Stmt
	end, missing, close, settle, count     *sql.Stmt
	settled, forget, repeated              *sql.Stmt
	forgiveLost, forgiveExtra, forgiveBoth *sql.Stmt
}

// ledgerReads are those on the readers.
type ledgerReads struct{ balance, loose *sql.Stmt }

const (
	isObject = `GLOB '` + ledger.Types + `*'`

	// hasOpen: nothing final is known of the event, so that the next note says it. A replay is of a dead letter only.
	hasOpen = `(outcome IN ('', 'dead', 'replayed') AND (excluded.outcome <> 'replayed' OR outcome = 'dead'))`

	keyInConflict = `EXISTS (SELECT 1 FROM bm_conflict c WHERE c.grp = ?1 AND c.key = e.key AND c.state NOT IN ('resolved', 'superseded'))`
	keyIsDirty    = `EXISTS (SELECT 1 FROM bm_dirty d WHERE d.grp = ?1 AND d.key = e.key)`

	// openEvents are the events whose outcome is not in the counters; those that are fresh are not counted at all yet. ?1 is the group.
	openEvents = `SELECT a.source, a.id, a.subject, coalesce(o.outcome, '') AS outcome, coalesce(o.other, '') AS other, o.key,
			coalesce(o.noted, a.recorded) AS at, 1 AS fresh
		FROM bm_audit a LEFT JOIN bm_outcome o ON o.grp = ?1 AND o.source = a.source AND o.id = a.id
		WHERE a.seq > (SELECT seq FROM bm_ledger WHERE grp = ?1) AND a.type ` + isObject + `
		UNION ALL SELECT o.source, o.id, a.subject, o.outcome, o.other, o.key, o.noted, 0 FROM bm_outcome o JOIN bm_audit a ON a.seq = o.seq
		WHERE o.grp = ?1 AND o.seq IS NOT NULL`
	// unrecorded are outcomes of events that the audit log does not have. ?2 is the time before which nothing is under way.
	unrecorded = `FROM bm_outcome o WHERE o.grp = ?1 AND o.seq IS NULL AND o.noted < ?2
		AND NOT EXISTS (SELECT 1 FROM bm_audit a WHERE a.source = o.source AND a.id = o.id)`
)

func (w *ledgerWrites) queries() []query {
	final := `grp = ?1 AND seq IS NOT NULL AND other = '' AND outcome IN ('applied', 'superseded', 'filtered')`
	return []query{
		{&w.begin, `INSERT INTO bm_ledger (grp, seq) SELECT ?1, coalesce(max(seq), 0) FROM bm_audit WHERE true ON CONFLICT DO NOTHING`},
		{&w.note, `INSERT INTO bm_outcome (grp, source, id, key, outcome, noted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT DO UPDATE SET
				other = iif(other = '' AND outcome IN ('applied', 'superseded', 'filtered', 'parked')
					AND excluded.outcome IN ('applied', 'superseded', 'filtered', 'parked')
					AND (outcome = 'filtered') <> (excluded.outcome = 'filtered'), excluded.outcome, other),
				key = iif(` + hasOpen + `, excluded.key, key), noted = iif(` + hasOpen + `, excluded.noted, noted),
				outcome = iif(` + hasOpen + `, excluded.outcome, outcome)`},

		// The steps of a fold. ?1 is the group, ?2 the last entry that it takes.
		{&w.end, `WITH part AS (SELECT seq, recorded FROM bm_audit WHERE seq > (SELECT seq FROM bm_ledger WHERE grp = ?1) ORDER BY seq LIMIT ?3)
			SELECT coalesce(min(iif(recorded >= ?2, seq, NULL)) - 1, max(seq)),
				(SELECT seq FROM bm_ledger WHERE grp = ?1) FROM part`},
		{&w.missing, `INSERT INTO bm_outcome (grp, source, id, key, outcome, noted)
			SELECT ?1, source, id, x'', '', recorded FROM bm_audit
			WHERE seq > (SELECT seq FROM bm_ledger WHERE grp = ?1) AND seq <= ?2 AND type ` + isObject + ` ON CONFLICT DO NOTHING`},
		{&w.close, `UPDATE bm_outcome SET seq = a.seq FROM bm_audit a WHERE bm_outcome.grp = ?1 AND bm_outcome.source = a.source
			AND bm_outcome.id = a.id AND a.seq > (SELECT seq FROM bm_ledger WHERE grp = ?1) AND a.seq <= ?2 AND a.type ` + isObject},
		{&w.count, `UPDATE bm_ledger SET seen = seen + ?3, seq = ?2 WHERE grp = ?1`},
		{&w.settle, `UPDATE bm_outcome AS e SET outcome = 'applied' WHERE e.grp = ?1 AND e.seq IS NOT NULL AND e.outcome = 'parked'
			AND NOT ` + keyInConflict + ` AND NOT ` + keyIsDirty},
		{&w.settled, `UPDATE bm_ledger AS l SET applied = l.applied + n.applied, superseded = l.superseded + n.superseded,
				filtered = l.filtered + n.filtered FROM (SELECT coalesce(sum(outcome = 'applied'), 0) AS applied, coalesce(sum(outcome = 'superseded'), 0) AS superseded,
				coalesce(sum(outcome = 'filtered'), 0) AS filtered FROM bm_outcome WHERE ` + final + `) AS n WHERE l.grp = ?1`},
		{&w.forget, `DELETE FROM bm_outcome WHERE ` + final},
		{&w.repeated, `DELETE FROM bm_outcome WHERE grp = ?1 AND seq IS NULL AND noted < ?2 AND EXISTS (SELECT 1 FROM bm_audit a
			WHERE a.source = bm_outcome.source AND a.id = bm_outcome.id AND a.seq <= (SELECT seq FROM bm_ledger WHERE grp = ?1))`},

		{&w.forgiveLost, `UPDATE bm_outcome SET outcome = 'superseded'
			WHERE grp = ?1 AND seq IS NOT NULL AND outcome IN ('', 'replayed') AND noted < ?2`},
		{&w.forgiveBoth, `UPDATE bm_outcome SET other = '' WHERE grp = ?1 AND seq IS NOT NULL AND other <> '' AND noted < ?2`},
		{&w.forgiveExtra, `DELETE FROM bm_outcome AS o WHERE o.grp = ?1 AND o.seq IS NULL AND o.noted < ?2
			AND NOT EXISTS (SELECT 1 FROM bm_audit a WHERE a.source = o.source AND a.id = o.id)`},
	}
}

func (r *ledgerReads) queries() []query {
	return []query{
		{&r.balance, `WITH e AS (` + openEvents + `)
			SELECT 'in', coalesce(sum(fresh), 0) FROM e UNION ALL SELECT 'in', seen FROM bm_ledger WHERE grp = ?1
			UNION ALL SELECT 'applied', applied FROM bm_ledger WHERE grp = ?1
			UNION ALL SELECT 'superseded', superseded FROM bm_ledger WHERE grp = ?1
			UNION ALL SELECT 'filtered', filtered FROM bm_ledger WHERE grp = ?1
			UNION ALL SELECT CASE
				WHEN outcome IN ('', 'replayed') THEN iif(at < ?2, 'unaccounted', 'flight')
				WHEN outcome <> 'parked' THEN outcome
				WHEN ` + keyInConflict + ` THEN 'conflict'
				WHEN ` + keyIsDirty + ` THEN 'flight' ELSE 'applied' END, count(*) FROM e GROUP BY 1
			UNION ALL SELECT 'disputed', count(*) FROM e WHERE other <> ''
			UNION ALL SELECT 'unrecorded', count(*) ` + unrecorded},
		{&r.loose, `WITH e AS (` + openEvents + `)
			SELECT iif(other <> '', 'disputed', 'unaccounted'), source, id, subject, at FROM e
				WHERE other <> '' OR outcome IN ('', 'replayed') AND at < ?2
			UNION ALL SELECT 'unrecorded', o.source, o.id, '', o.noted ` + unrecorded + ` ORDER BY at, source, id LIMIT ?3`},
	}
}

// Begin implements ledger.Ledger.
func (l *Ledger) Begin(ctx context.Context, group string) error {
	if err := ledger.Check(group); err != nil {
		return err
	}
	return classify("open ledger", l.s.w.do(ctx, func(ctx context.Context) error {
		_, err := l.s.write.ledger.begin.ExecContext(ctx, group)
		return err
	}))
}

// Note implements ledger.Ledger.
func (l *Ledger) Note(ctx context.Context, group string, notes ...ledger.Note) error {
	if err := ledger.Check(group, notes...); err != nil || len(notes) == 0 {
		return err
	}
	return classify("note outcomes", l.s.w.do(ctx, func(ctx context.Context) error {
		at := record.Nanos(l.s.now())
		for _, n := range notes {
			if _, err := l.s.write.ledger.note.ExecContext(ctx, group, n.Source, n.ID, []byte(n.Key), string(n.Outcome), at); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Balance implements ledger.Ledger.
func (l *Ledger) Balance(ctx context.Context, group string, before time.Time) (ledger.Balance, error) {
	var b ledger.Balance
	rows, err := l.s.read.ledger.balance.QueryContext(ctx, group, record.Nanos(before))
	if err != nil {
		return b, classify("draw up ledger", err)
	}
	_, err = collect("draw up ledger", rows, func() (struct{}, error) {
		var class string
		var n int64
		err := rows.Scan(&class, &n)
		b.Add(class, n)
		return struct{}{}, err
	})
	if err != nil {
		return b, err
	}
	if b.Loose() {
		if b.Examples, err = l.loose(ctx, group, before); err != nil {
			return b, err
		}
	}
	b.Close()
	return b, nil
}

func (l *Ledger) loose(ctx context.Context, group string, before time.Time) ([]ledger.Loose, error) {
	rows, err := l.s.read.ledger.loose.QueryContext(ctx, group, record.Nanos(before), ledger.MaxExamples)
	if err != nil {
		return nil, classify("draw up ledger", err)
	}
	return collect("draw up ledger", rows, func() (e ledger.Loose, err error) {
		var at int64
		err = rows.Scan(&e.What, &e.Source, &e.ID, &e.Subject, &at)
		e.At = record.Time(at)
		return e, err
	})
}

// Fold implements ledger.Ledger.
func (l *Ledger) Fold(ctx context.Context, group string, before time.Time) (more bool, err error) {
	w, at := &l.s.write.ledger, record.Nanos(before)
	err = l.s.w.do(ctx, func(ctx context.Context) error {
		var end, from sql.NullInt64
		if err := w.end.QueryRowContext(ctx, group, at, foldChunk).Scan(&end, &from); err != nil {
			return fmt.Errorf("find entries: %w", err)
		}
		more = end.Int64-from.Int64 == foldChunk // entries have no gaps
		if end.Int64 > from.Int64 {
			if _, err := w.missing.ExecContext(ctx, group, end.Int64); err != nil {
				return fmt.Errorf("find events without an outcome: %w", err)
			}
			res, err := w.close.ExecContext(ctx, group, end.Int64)
			if err != nil {
				return fmt.Errorf("close entries: %w", err)
			}
			seen, err := res.RowsAffected()
			if err != nil {
				return fmt.Errorf("count entries: %w", err)
			}
			if _, err := w.count.ExecContext(ctx, group, end.Int64, seen); err != nil {
				return fmt.Errorf("count entries: %w", err)
			}
		}
		for _, step := range []*sql.Stmt{w.settle, w.settled, w.forget} {
			if _, err := step.ExecContext(ctx, group); err != nil {
				return fmt.Errorf("fold outcomes: %w", err)
			}
		}
		if more {
			return nil
		}
		_, err := w.repeated.ExecContext(ctx, group, at)
		return err
	})
	return more, classify("fold ledger", err)
}

// Forgive implements ledger.Ledger.
func (l *Ledger) Forgive(ctx context.Context, group string, began time.Time) error {
	w, at := &l.s.write.ledger, record.Nanos(began)
	return classify("close ledger", l.s.w.do(ctx, func(ctx context.Context) error {
		for _, step := range []*sql.Stmt{w.forgiveLost, w.forgiveBoth, w.forgiveExtra} {
			if _, err := step.ExecContext(ctx, group, at); err != nil {
				return err
			}
		}
		return nil
	}))
}
