package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Ledger is the ledger in the same database, beside the audit log whose entries it accounts for.
type Ledger struct{ s *Store }

var _ ledger.Ledger = (*Ledger)(nil)

// Ledger is the store's ledger. It ends with the store.
func (s *Store) Ledger() *Ledger { return &Ledger{s} }

// foldChunk bounds the entries of one transaction.
const foldChunk = 2000

const (
	ledgerBegin = `INSERT INTO bm_ledger (grp, seq) SELECT $1, coalesce(max(seq), 0) FROM bm_audit ON CONFLICT DO NOTHING`

	// hasOpen: nothing final is known of the event, so that the next note says it. A replay is of a dead letter only.
	hasOpen    = `(o.outcome IN ('', 'dead', 'replayed') AND (excluded.outcome <> 'replayed' OR o.outcome = 'dead'))`
	isDisputed = `(o.other = '' AND o.outcome IN ('applied', 'superseded', 'filtered', 'parked')
		AND excluded.outcome IN ('applied', 'superseded', 'filtered', 'parked') AND (o.outcome = 'filtered') <> (excluded.outcome = 'filtered'))`
	ledgerNote = `INSERT INTO bm_outcome AS o (grp, source, id, key, outcome, noted)
		SELECT $1, n.source, n.id, n.key, n.outcome, $6 FROM unnest($2::text[], $3::text[], $4::bytea[], $5::text[])
			WITH ORDINALITY AS n (source, id, key, outcome, place) ORDER BY n.place
		ON CONFLICT (grp, source, id) DO UPDATE SET
			other = CASE WHEN ` + isDisputed + ` THEN excluded.outcome ELSE o.other END,
			key = CASE WHEN ` + hasOpen + ` THEN excluded.key ELSE o.key END,
			noted = CASE WHEN ` + hasOpen + ` THEN excluded.noted ELSE o.noted END,
			outcome = CASE WHEN ` + hasOpen + ` THEN excluded.outcome ELSE o.outcome END
		WHERE ` + hasOpen + ` OR ` + isDisputed  // a repetition writes nothing

	isObject      = `starts_with(a.type, '` + ledger.Types + `')`
	keyInConflict = `EXISTS (SELECT 1 FROM bm_conflict c WHERE c.grp = $1 AND c.key = e.key AND c.state NOT IN ('resolved', 'superseded'))`
	keyIsDirty    = `EXISTS (SELECT 1 FROM bm_dirty d WHERE d.grp = $1 AND d.key = e.key)`
	booksEnd      = `(SELECT l.seq FROM bm_ledger l WHERE l.grp = $1)`

	// openEvents are the events whose outcome is not in the counters; those that are fresh are not counted at all yet. $1 is the group.
	openEvents = `WITH e AS (SELECT a.source, a.id, a.subject, coalesce(o.outcome, '') AS outcome, coalesce(o.other, '') AS other, o.key,
			coalesce(o.noted, a.recorded) AS at, 1 AS fresh
		FROM bm_audit a LEFT JOIN bm_outcome o ON o.grp = $1 AND o.source = a.source AND o.id = a.id
		WHERE a.seq > ` + booksEnd + ` AND ` + isObject + `
		UNION ALL SELECT o.source, o.id, a.subject, o.outcome, o.other, o.key, o.noted, 0 FROM bm_outcome o JOIN bm_audit a ON a.seq = o.seq
		WHERE o.grp = $1 AND o.seq IS NOT NULL)`
	// unrecorded are outcomes of events that the audit log does not have. $2 is the time before which nothing is under way.
	unrecorded = `FROM bm_outcome o WHERE o.grp = $1 AND o.seq IS NULL AND o.noted < $2
		AND NOT EXISTS (SELECT 1 FROM bm_audit a WHERE a.source = o.source AND a.id = o.id)`

	ledgerBalance = openEvents + `
		SELECT 'in', coalesce(sum(fresh), 0) FROM e UNION ALL SELECT 'in', seen FROM bm_ledger WHERE grp = $1
		UNION ALL SELECT 'applied', applied FROM bm_ledger WHERE grp = $1
		UNION ALL SELECT 'superseded', superseded FROM bm_ledger WHERE grp = $1
		UNION ALL SELECT 'filtered', filtered FROM bm_ledger WHERE grp = $1
		UNION ALL SELECT CASE
			WHEN outcome IN ('', 'replayed') THEN CASE WHEN at < $2 THEN 'unaccounted' ELSE 'flight' END
			WHEN outcome <> 'parked' THEN outcome
			WHEN ` + keyInConflict + ` THEN 'conflict'
			WHEN ` + keyIsDirty + ` THEN 'flight' ELSE 'applied' END, count(*) FROM e GROUP BY 1
		UNION ALL SELECT 'disputed', count(*) FROM e WHERE other <> ''
		UNION ALL SELECT 'unrecorded', count(*) ` + unrecorded
	ledgerLoose = openEvents + `
		SELECT CASE WHEN other <> '' THEN 'disputed' ELSE 'unaccounted' END, source, id, subject, at FROM e
			WHERE other <> '' OR outcome IN ('', 'replayed') AND at < $2
		UNION ALL SELECT 'unrecorded', o.source, o.id, '', o.noted ` + unrecorded + ` ORDER BY 5, 2, 3 LIMIT $3`
)

// The steps of a fold. $1 is the group, $2 the last entry that it takes. One process folds at a time: it holds the group's row.
const (
	foldEnd = `WITH part AS (SELECT a.seq, a.recorded FROM bm_audit a WHERE a.seq > $1 ORDER BY a.seq LIMIT $3)
		SELECT coalesce(min(seq) FILTER (WHERE recorded >= $2) - 1, max(seq), $1) FROM part`
	foldMissing = `INSERT INTO bm_outcome (grp, source, id, key, outcome, noted)
		SELECT $1, a.source, a.id, '', '', a.recorded FROM bm_audit a
		WHERE a.seq > ` + booksEnd + ` AND a.seq <= $2 AND ` + isObject + ` ORDER BY a.source, a.id ON CONFLICT DO NOTHING`
	foldClose = `WITH done AS (UPDATE bm_outcome o SET seq = a.seq FROM bm_audit a WHERE o.grp = $1 AND o.source = a.source AND o.id = a.id
			AND a.seq > ` + booksEnd + ` AND a.seq <= $2 AND ` + isObject + ` RETURNING 1)
		UPDATE bm_ledger SET seen = seen + (SELECT count(*) FROM done), seq = $2 WHERE grp = $1`
	foldSettle = `UPDATE bm_outcome e SET outcome = 'applied' WHERE e.grp = $1 AND e.seq IS NOT NULL AND e.outcome = 'parked'
		AND NOT ` + keyInConflict + ` AND NOT ` + keyIsDirty
	foldForget = `WITH gone AS (DELETE FROM bm_outcome o WHERE o.grp = $1 AND o.seq IS NOT NULL AND o.other = ''
			AND o.outcome IN ('applied', 'superseded', 'filtered') RETURNING o.outcome)
		UPDATE bm_ledger SET applied = applied + (SELECT count(*) FROM gone WHERE outcome = 'applied'),
			superseded = superseded + (SELECT count(*) FROM gone WHERE outcome = 'superseded'),
			filtered = filtered + (SELECT count(*) FROM gone WHERE outcome = 'filtered') WHERE grp = $1`
	foldRepeated = `DELETE FROM bm_outcome o USING bm_audit a WHERE o.grp = $1 AND o.seq IS NULL AND o.noted < $2
		AND a.source = o.source AND a.id = o.id AND a.seq <= ` + booksEnd

	forgiveLost = `UPDATE bm_outcome SET outcome = 'superseded'
		WHERE grp = $1 AND seq IS NOT NULL AND outcome IN ('', 'replayed') AND noted < $2`
	forgiveBoth  = `UPDATE bm_outcome SET other = '' WHERE grp = $1 AND seq IS NOT NULL AND other <> '' AND noted < $2`
	forgiveExtra = `DELETE ` + unrecorded
)

// Begin implements ledger.Ledger.
func (l *Ledger) Begin(ctx context.Context, group string) error {
	if err := ledger.Check(group); err != nil {
		return err
	}
	return classify("open ledger", l.s.exec(ctx, ledgerBegin, group))
}

// Note implements ledger.Ledger.
func (l *Ledger) Note(ctx context.Context, group string, notes ...ledger.Note) error {
	if err := ledger.Check(group, notes...); err != nil {
		return err
	}
	for _, round := range ledger.Rounds(notes) {
		// Sorted, so that two calls take their locks in the same order.
		slices.SortFunc(round, func(a, b ledger.Note) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID)) })
		var sources, ids, outcomes []string
		var keys [][]byte
		for _, n := range round {
			sources, ids, outcomes = append(sources, n.Source), append(ids, n.ID), append(outcomes, string(n.Outcome))
			keys = append(keys, []byte(n.Key))
		}
		if err := l.s.exec(ctx, ledgerNote, group, sources, ids, keys, outcomes, record.Nanos(l.s.o.Now())); err != nil {
			return classify("note outcomes", err)
		}
	}
	return nil
}

// Balance implements ledger.Ledger.
func (l *Ledger) Balance(ctx context.Context, group string, before time.Time) (ledger.Balance, error) {
	type line struct {
		class string
		n     int64
	}
	var b ledger.Balance
	lines, err := all(ctx, l.s, func(r pgx.CollectableRow) (e line, err error) {
		return e, r.Scan(&e.class, &e.n)
	}, ledgerBalance, group, record.Nanos(before))
	if err != nil {
		return b, classify("draw up ledger", err)
	}
	for _, e := range lines {
		b.Add(e.class, e.n)
	}
	if b.Loose() {
		b.Examples, err = all(ctx, l.s, func(r pgx.CollectableRow) (e ledger.Loose, err error) {
			var at int64
			err = r.Scan(&e.What, &e.Source, &e.ID, &e.Subject, &at)
			e.At = record.Time(at)
			return e, err
		}, ledgerLoose, group, record.Nanos(before), ledger.MaxExamples)
		if err != nil {
			return b, classify("draw up ledger", err)
		}
	}
	b.Close()
	return b, nil
}

// Fold implements ledger.Ledger.
func (l *Ledger) Fold(ctx context.Context, group string, before time.Time) (more bool, err error) {
	err = l.s.repeat(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, l.s.pool, func(tx pgx.Tx) error {
			var err error
			more, err = fold(ctx, tx, group, record.Nanos(before))
			return err
		})
	})
	return more, classify("fold ledger", err)
}

func fold(ctx context.Context, tx pgx.Tx, group string, before int64) (more bool, err error) {
	var from int64
	err = tx.QueryRow(ctx, `SELECT seq FROM bm_ledger WHERE grp = $1 FOR UPDATE`, group).Scan(&from)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil // nobody opened these books
	}
	if err != nil {
		return false, err
	}
	var end int64
	if err := tx.QueryRow(ctx, foldEnd, from, before, foldChunk).Scan(&end); err != nil {
		return false, err
	}
	more = end-from == foldChunk // entries have no gaps
	var b pgx.Batch
	if end > from {
		b.Queue(foldMissing, group, end)
		b.Queue(foldClose, group, end)
	}
	b.Queue(foldSettle, group)
	b.Queue(foldForget, group)
	if !more {
		b.Queue(foldRepeated, group, before)
	}
	return more, tx.SendBatch(ctx, &b).Close()
}

// Forgive implements ledger.Ledger.
func (l *Ledger) Forgive(ctx context.Context, group string, began time.Time) error {
	for _, sql := range []string{forgiveLost, forgiveBoth, forgiveExtra} {
		if err := l.s.exec(ctx, sql, group, record.Nanos(began)); err != nil {
			return classify("close ledger", err)
		}
	}
	return nil
}
