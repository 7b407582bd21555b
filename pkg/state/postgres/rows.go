package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, group, key string) (state.Row, error) {
	var rev, floor, mark int64
	var doc []byte
	err := s.one(ctx, []any{&rev, &doc, &floor, &mark}, `SELECT coalesce(o.rev, 0), o.doc, coalesce(s.floor, 0), coalesce(d.mark, 0) FROM (SELECT) AS one
		LEFT JOIN bm_object o ON o.grp = $1 AND o.key = $2 LEFT JOIN bm_shard s ON s.grp = $1 AND s.shard = $3
		LEFT JOIN bm_dirty d ON d.grp = $1 AND d.key = $2`, group, []byte(key), record.Shard(key))
	if err != nil {
		return state.Row{}, classify("read row", err)
	}
	if rev == 0 {
		return state.Row{Group: group, Key: key, AsOf: floor, DirtyMark: mark}, nil
	}
	row, err := record.Decode(group, key, rev, doc)
	row.DirtyMark = mark
	return row, err
}

// Rows implements state.Store.
func (s *Store) Rows(ctx context.Context, group, after string, limit int) ([]state.Row, error) {
	rows, err := all(ctx, s, func(r pgx.CollectableRow) (state.Row, error) {
		var key, doc []byte
		var rev int64
		if err := r.Scan(&key, &rev, &doc); err != nil {
			return state.Row{}, err
		}
		return record.Decode(group, string(key), rev, doc)
	}, `SELECT key, rev, doc FROM bm_object WHERE grp = $1 AND key > $2 ORDER BY key LIMIT $3`, group, []byte(after), record.Limit(limit))
	return rows, classify("list rows", err)
}

// A Commit is one of these statements. Each finds out first whether it won the compare-and-set ("won" has a row), and
// everything else hangs on that row: who loses changes nothing. Parameters: $1 group, $2 key, $3 the revision that the
// row has, $4 and $5 of the statement's own ("IS NULL" names the type of one that it has no use for), $6 and on of the
// effects.
const (
	isLease = `d.reason = '` + state.ReasonLease + `'`

	updateRow = `WITH won AS (
		UPDATE bm_object SET rev = $4, doc = $5 WHERE grp = $1 AND key = $2 AND rev = $3 RETURNING rev
	)` + effects

	// The floor is raised before the row's removal is visible, and insertRow reads it after that: see there.
	removeRow = `WITH won AS (
		DELETE FROM bm_object WHERE grp = $1 AND key = $2 AND rev = $3 RETURNING rev
	), shrunk AS (
		UPDATE bm_shard s SET keys = s.keys - 1, floor = greatest(s.floor, won.rev)
		FROM won WHERE s.grp = $1 AND s.shard = $4 AND $5::text IS NULL
	)` + effects

	// insertRow goes before createdRow, in one transaction. If the row is there (or comes while we wait for another
	// transaction's end) it fails, which undoes everything.
	insertRow = `INSERT INTO bm_object (grp, key, rev, doc) VALUES ($1, $2, $3, $4)`

	// createdRow counts the key and raises its revision above that of every key that was removed. If one was removed since the caller read that
	// there was no row ($5 is the floor of then), it takes the row out again. It is a statement of its own because it must see the floor
	// as it is now: insertRow may have waited for the very transaction that removed this key and raised the floor, and what
	// insertRow sees is older than that.
	createdRow = `WITH grown AS (
		INSERT INTO bm_shard AS s (grp, shard, keys, floor) VALUES ($1, $4, 1, 0)
		ON CONFLICT (grp, shard) DO UPDATE SET keys = s.keys + (s.floor <= $5::bigint)::int RETURNING floor
	), undone AS (
		DELETE FROM bm_object o USING grown WHERE o.grp = $1 AND o.key = $2 AND grown.floor > $5::bigint
	), raised AS (
		UPDATE bm_object o SET rev = grown.floor + 1
		FROM grown WHERE o.grp = $1 AND o.key = $2 AND o.rev <= grown.floor AND grown.floor <= $5::bigint RETURNING o.rev
	), won AS (
		SELECT coalesce((SELECT rev FROM raised), $3::bigint) AS rev FROM grown WHERE grown.floor <= $5::bigint
	)` + effects

	// A wake-up that came after the caller read the row has another mark than $16, or none yet that this statement sees;
	// one that is on its way is waited for, and its mark is looked at again. Every insert takes a new mark from the
	// column's sequence, also one that turns into an update.
	effects = `, cleaned AS (
		DELETE FROM bm_dirty d USING won WHERE $6::boolean AND d.grp = $1 AND d.key = $2 AND (d.mark = $16::bigint OR ` + isLease + `)
	), soiled AS (
		INSERT INTO bm_dirty AS d (grp, key, due, attempts, reason)
		SELECT $1, $2, $7::bigint, $8::bigint, $9::text FROM won WHERE $7::bigint IS NOT NULL
		ON CONFLICT (grp, key) DO UPDATE SET
			due = CASE WHEN d.mark = $16::bigint OR ` + isLease + ` THEN excluded.due ELSE least(d.due, excluded.due) END,
			attempts = excluded.attempts, reason = excluded.reason, mark = excluded.mark
		WHERE $17::boolean
	), sent AS (
		INSERT INTO bm_outbox (grp, id, json)
		SELECT $1, e.id, e.json FROM won, unnest($10::text[], $11::bytea[]) WITH ORDINALITY AS e (id, json, n) ORDER BY e.n
	), kept AS (
		INSERT INTO bm_conflict (grp, id, key, state, detected, doc)
		SELECT $1, c.id, $2, c.state, c.detected, c.doc::json
		FROM won, unnest($12::text[], $13::text[], $14::bigint[], $15::text[]) AS c (id, state, detected, doc)
		ON CONFLICT (grp, id) DO UPDATE SET
			key = excluded.key, state = excluded.state, detected = excluded.detected, doc = excluded.doc
	), removed AS (
		INSERT INTO bm_removed (grp, key, id, removed, expires, ended, doc)
		SELECT $1, $2, r.id, r.removed, r.expires, FALSE, r.doc::json
		FROM won, unnest($18::text[], $19::bigint[], $20::bigint[], $21::text[]) AS r (id, removed, expires, doc)
		ON CONFLICT (grp, key, id) DO UPDATE SET
			removed = excluded.removed, expires = excluded.expires, ended = excluded.ended, doc = excluded.doc
	) SELECT rev FROM won`
)

// Commit implements state.Store.
func (s *Store) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	if err := record.Check(row, fx); err != nil {
		return 0, err
	}
	tail, err := effectArgs(row.DirtyMark, fx)
	if err != nil {
		return 0, err
	}
	var doc string // and not []byte, which without a prepared statement would be taken for BYTEA
	if !fx.Remove {
		b, err := record.Encode(row)
		if err != nil {
			return 0, err
		}
		doc = string(b)
	}
	key := []byte(row.Key)
	args := func(own ...any) []any { return append(append([]any{row.Group, key}, own...), tail...) }
	var rev int64
	switch shard := record.Shard(row.Key); {
	case fx.Remove && row.Rev == 0:
		// Nothing to remove; but only an insert can make sure that there is nothing, until the transaction ends.
		rev, err = s.pair(ctx, insertRow, []any{row.Group, key, 0, "{}"}, removeRow, args(0, -1, nil))
	case fx.Remove:
		_, err = s.single(ctx, removeRow, args(row.Rev, shard, nil))
	case row.Rev == 0:
		first := record.NextRev(s.o.Now(), 0, 0)
		rev, err = s.pair(ctx, insertRow, []any{row.Group, key, first, doc}, createdRow, args(first, shard, row.AsOf))
	default:
		rev, err = s.single(ctx, updateRow, args(row.Rev, record.NextRev(s.o.Now(), row.Rev, 0), doc))
	}
	if errors.Is(err, pgx.ErrNoRows) || isUnique(err) {
		return 0, conflict(row.Group, row.Key, row.Rev)
	}
	if err != nil {
		return 0, commitFailed(row.Group, row.Key, err)
	}
	return rev, nil
}

func (s *Store) single(ctx context.Context, sql string, args []any) (rev int64, err error) {
	err = s.call(ctx, func(ctx context.Context) error { // not one: a compare-and-set that happened would refuse itself
		return s.pool.QueryRow(ctx, sql, args...).Scan(&rev)
	})
	return rev, err
}

// pair runs two statements in one implicit transaction and one round trip; the second answers with a revision.
func (s *Store) pair(ctx context.Context, first string, firstArgs []any, then string, thenArgs []any) (rev int64, err error) {
	err = s.call(ctx, func(ctx context.Context) error {
		var b pgx.Batch
		b.Queue(first, firstArgs...)
		b.Queue(then, thenArgs...)
		results := s.pool.SendBatch(ctx, &b)
		_, err := results.Exec()
		if err == nil {
			err = results.QueryRow().Scan(&rev)
		}
		// The transaction is committed after the last answer: only Close knows.
		if end := results.Close(); err == nil {
			err = end
		}
		return err
	})
	return rev, err
}

// effectArgs are the parameters $6 to $21. mark is that of the dirty entry that the caller knows of.
func effectArgs(mark int64, fx state.Effects) ([]any, error) {
	var clean bool
	var due *int64
	attempts, reason := fx.Attempts, record.Reason(fx.Reason)
	switch {
	case fx.Dirty != nil:
		due = new(record.Nanos(*fx.Dirty))
	case fx.ClearDirty:
		clean = true
	case fx.ClearLease:
		clean, mark = true, 0 // which no entry has
	case fx.Lease != nil:
		due, attempts, reason = new(record.Nanos(*fx.Lease)), 0, state.ReasonLease
	}
	var ids []string
	var docs [][]byte
	for _, e := range fx.Events {
		ids, docs = append(ids, e.ID), append(docs, e.JSON)
	}
	var cids, cstates, cdocs []string
	var detected []int64
	for _, c := range record.LastConflicts(fx.Conflicts) {
		doc, err := record.EncodeConflict(c)
		if err != nil {
			return nil, err
		}
		cids, cstates = append(cids, c.ID), append(cstates, c.State)
		detected, cdocs = append(detected, record.Nanos(c.Detected)), append(cdocs, string(doc))
	}
	var rids, rdocs []string
	var removed, expires []int64
	for _, r := range record.LastRemoved(fx.Removed) {
		doc, err := record.EncodeRemoved(r)
		if err != nil {
			return nil, err
		}
		rids, rdocs = append(rids, r.ID), append(rdocs, doc)
		removed, expires = append(removed, record.Nanos(r.When)), append(expires, record.Nanos(r.Expires))
	}
	return []any{
		clean, due, attempts, reason, ids, docs, cids, cstates, detected, cdocs, mark, fx.Dirty != nil, rids, removed, expires, rdocs,
	}, nil
}
