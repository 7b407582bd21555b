package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const (
	// lockBrake takes the lock of the group's brake: a statement of its own, so that what follows sees what the transaction
	// before this one did.
	lockBrake = `INSERT INTO bm_brake AS b (grp, doc) VALUES ($1, '{}') ON CONFLICT (grp) DO UPDATE SET doc = b.doc`

	readBrake = `SELECT b.doc, coalesce(d.version, ''), coalesce(d.noted, 0), coalesce(d.waiting, FALSE), coalesce(d.approved, FALSE),
			(SELECT coalesce(sum(keys), 0)::bigint FROM bm_shard WHERE grp = $1)
		FROM bm_brake b LEFT JOIN bm_deletion d ON d.grp = $1 AND d.key = $2 WHERE b.grp = $1`

	setRemoved = `INSERT INTO bm_removed (grp, key, id, removed, expires, ended, doc) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (grp, key, id) DO UPDATE SET
			removed = excluded.removed, expires = excluded.expires, ended = excluded.ended, doc = excluded.doc`
)

// Weigh implements state.Guards. A transaction whose end is not known may happen twice: f sees what it did the first time.
func (s *Store) Weigh(ctx context.Context, group, key string, f func(w *state.Weighing) error) error {
	if err := record.CheckKeys(group); err != nil {
		return err
	}
	var refused error
	err := s.repeat(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			w, err := weighing(ctx, tx, group, key)
			if err != nil {
				return err
			}
			if refused = f(&w); refused != nil {
				return refused
			}
			return weighed(ctx, tx, group, key, &w)
		})
	})
	if refused != nil {
		return refused
	}
	return classify("weigh delete", err)
}

// weighing takes the lock and reads, in one round trip.
func weighing(ctx context.Context, tx pgx.Tx, group, key string) (w state.Weighing, err error) {
	var doc []byte
	var v string
	var noted int64
	d := state.Deletion{Key: key}
	var b pgx.Batch
	b.Queue(lockBrake, group)
	b.Queue(readBrake, group, []byte(key)).QueryRow(func(row pgx.Row) error {
		return row.Scan(&doc, &v, &noted, &d.Waiting, &d.Approved, &w.Keys)
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return w, err
	}
	if v != "" {
		d.Version, d.Noted = version.ID(v), record.Time(noted)
		w.Deletion = d
	}
	w.Brake, err = record.DecodeBrake(doc)
	return w, err
}

func weighed(ctx context.Context, tx pgx.Tx, group, key string, w *state.Weighing) error {
	doc, err := record.EncodeBrake(w.Brake)
	if err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(`UPDATE bm_brake SET doc = $2 WHERE grp = $1`, group, doc)
	switch d := w.Deletion; {
	case key == "":
	case d.Version == "":
		b.Queue(`DELETE FROM bm_deletion WHERE grp = $1 AND key = $2`, group, []byte(key))
	default:
		b.Queue(`INSERT INTO bm_deletion (grp, key, version, noted, waiting, approved) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (grp, key) DO UPDATE SET version = excluded.version, noted = excluded.noted, waiting = excluded.waiting,
				approved = excluded.approved`, group, []byte(key), string(d.Version), record.Nanos(d.Noted), d.Waiting, d.Approved)
	}
	for _, e := range w.Events {
		b.Queue(`INSERT INTO bm_outbox (grp, id, json) VALUES ($1, $2, $3)`, group, e.ID, e.JSON)
	}
	return tx.SendBatch(ctx, &b).Close()
}

// Brake implements state.Guards.
func (s *Store) Brake(ctx context.Context, group string) (state.Brake, error) {
	var doc []byte
	err := s.one(ctx, []any{&doc}, `SELECT doc FROM bm_brake WHERE grp = $1`, group)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return state.Brake{}, classify("read delete brake", err)
	}
	return record.DecodeBrake(doc)
}

// Deletions implements state.Guards.
func (s *Store) Deletions(ctx context.Context, group, after string, limit int) ([]state.Deletion, error) {
	found, err := all(ctx, s, func(r pgx.CollectableRow) (state.Deletion, error) {
		var key []byte
		var v string
		var noted int64
		d := state.Deletion{Waiting: true}
		err := r.Scan(&key, &v, &noted, &d.Approved)
		d.Key, d.Version, d.Noted = string(key), version.ID(v), record.Time(noted)
		return d, err
	}, `SELECT key, version, noted, approved FROM bm_deletion WHERE grp = $1 AND waiting = TRUE AND key > $2 ORDER BY key LIMIT $3`,
		group, []byte(after), record.Limit(limit))
	return found, classify("list deletions", err)
}

// ForgetDeletions implements state.Guards.
func (s *Store) ForgetDeletions(ctx context.Context, group string, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget deletions", `DELETE FROM bm_deletion WHERE (grp, key) IN
		(SELECT grp, key FROM bm_deletion WHERE grp = $1 AND waiting = FALSE AND noted < $2 LIMIT $3)`, group, before, limit)
}

// ForgetRemoved implements state.Guards.
func (s *Store) ForgetRemoved(ctx context.Context, group string, before time.Time, limit int) (int, error) {
	return s.forget(ctx, "forget removed objects", `DELETE FROM bm_removed WHERE (grp, key, id) IN
		(SELECT grp, key, id FROM bm_removed WHERE grp = $1 AND ended AND expires < $2 LIMIT $3)`, group, before, limit)
}

func (s *Store) forget(ctx context.Context, what, sql, group string, before time.Time, limit int) (n int, err error) {
	err = s.repeat(ctx, func(ctx context.Context) error {
		tag, err := s.pool.Exec(ctx, sql, group, record.Nanos(before), record.Limit(limit))
		n = int(tag.RowsAffected())
		return err
	})
	return n, classify(what, err)
}

// Removed implements state.Guards.
func (s *Store) Removed(ctx context.Context, group string, q state.RemovedQuery) ([]state.Removed, error) {
	var above []byte
	if end, ok := record.Above(q.Prefix); ok {
		above = []byte(end)
	}
	found, err := all(ctx, s, func(r pgx.CollectableRow) (state.Removed, error) {
		var key, doc []byte
		if err := r.Scan(&key, &doc); err != nil {
			return state.Removed{}, err
		}
		return record.DecodeRemoved(string(key), doc)
	}, `SELECT key, doc FROM bm_removed WHERE grp = $1 AND key >= $2 AND ($3::bytea IS NULL OR key < $3) AND removed >= $4
			AND (NOT $5::boolean OR NOT ended) AND expires < $6 AND (key, id) > ($7, $8) ORDER BY key, id LIMIT $9`,
		group, []byte(q.Prefix), above, record.Nanos(q.Since), q.Kept, record.Expiry(q), []byte(q.AfterKey), q.AfterID, record.Limit(q.Limit))
	return found, classify("list removed objects", err)
}

// SetRemoved implements state.Guards.
func (s *Store) SetRemoved(ctx context.Context, r state.Removed) error {
	if err := record.CheckRemoved(r); err != nil {
		return err
	}
	doc, err := record.EncodeRemoved(r)
	if err != nil {
		return err
	}
	return classify("write removed object", s.exec(ctx, setRemoved,
		r.Group, []byte(r.Key), r.ID, record.Nanos(r.When), record.Nanos(r.Expires), r.End != "", doc))
}
