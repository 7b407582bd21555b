package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// chunk bounds the keys of one statement.
const chunk = 5000

// MarkDirty implements state.Store. Many keys take several transactions.
func (s *Store) MarkDirty(ctx context.Context, group string, keys []string, due time.Time, reason string) error {
	if err := record.CheckKeys(group, keys...); err != nil {
		return err
	}
	// Sorted, so that two calls take their locks in the same order; once each, because one statement can't update the
	// same row twice.
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	for part := range slices.Chunk(keys, chunk) {
		bytes := make([][]byte, len(part))
		for i, k := range part {
			bytes[i] = []byte(k)
		}
		err := s.exec(ctx, `INSERT INTO bm_dirty AS d (grp, key, due, attempts, reason)
			SELECT $1, k.key, $3, 0, $4 FROM unnest($2::bytea[]) WITH ORDINALITY AS k (key, n) ORDER BY k.n
			ON CONFLICT (grp, key) DO UPDATE SET due = least(d.due, excluded.due), mark = excluded.mark,
				reason = CASE WHEN excluded.due < d.due OR `+isLease+` THEN excluded.reason ELSE d.reason END`,
			group, bytes, record.Nanos(due), record.Reason(reason))
		if err != nil {
			return classify("mark keys dirty", err)
		}
	}
	return nil
}

// Due implements state.Store.
func (s *Store) Due(ctx context.Context, group string, now time.Time, limit int) ([]state.Dirty, error) {
	due, err := all(ctx, s, func(r pgx.CollectableRow) (state.Dirty, error) {
		var key []byte
		var due int64
		d := state.Dirty{Group: group}
		err := r.Scan(&key, &due, &d.Attempts, &d.Reason, &d.Mark)
		d.Key, d.Due = string(key), record.Time(due)
		return d, err
	}, `SELECT key, due, attempts, reason, mark FROM bm_dirty WHERE grp = $1 AND due <= $2 ORDER BY due, key LIMIT $3`,
		group, record.Nanos(now), record.Limit(limit))
	return due, classify("list dirty keys", err)
}

// NextDue implements state.Store.
func (s *Store) NextDue(ctx context.Context, group string) (time.Time, bool, error) {
	var due *int64
	if err := s.one(ctx, []any{&due}, `SELECT min(due) FROM bm_dirty WHERE grp = $1`, group); err != nil {
		return time.Time{}, false, classify("read next due time", err)
	}
	if due == nil {
		return time.Time{}, false, nil
	}
	return record.Time(*due), true, nil
}

// Outbox implements state.Store.
func (s *Store) Outbox(ctx context.Context, limit int) ([]state.OutboxEvent, error) {
	events, err := all(ctx, s, func(r pgx.CollectableRow) (e state.OutboxEvent, err error) {
		err = r.Scan(&e.Seq, &e.ID, &e.JSON)
		return e, err
	}, `SELECT seq, id, json FROM bm_outbox ORDER BY seq LIMIT $1`, record.Limit(limit))
	return events, classify("read outbox", err)
}

// Published implements state.Store.
func (s *Store) Published(ctx context.Context, seqs []int64) error {
	if len(seqs) == 0 {
		return nil
	}
	return classify("remove published events", s.exec(ctx, `DELETE FROM bm_outbox WHERE seq = ANY ($1)`, seqs))
}

// Conflicts implements state.Store.
func (s *Store) Conflicts(ctx context.Context, group, st string, limit int) ([]state.Conflict, error) {
	sql := `SELECT key, doc FROM bm_conflict WHERE grp = $1 ORDER BY detected DESC, id COLLATE "C" DESC LIMIT $2`
	args := []any{group, record.Limit(limit)}
	if st != "" {
		sql = `SELECT key, doc FROM bm_conflict WHERE grp = $1 AND state = ANY ($3) ORDER BY detected DESC, id COLLATE "C" DESC LIMIT $2`
		args = append(args, record.States(st))
	}
	found, err := all(ctx, s, func(r pgx.CollectableRow) (state.Conflict, error) {
		var key, doc []byte
		if err := r.Scan(&key, &doc); err != nil {
			return state.Conflict{}, err
		}
		return record.DecodeConflict(string(key), doc)
	}, sql, args...)
	return found, classify("list conflicts", err)
}

// Conflict implements state.Store.
func (s *Store) Conflict(ctx context.Context, group, id string) (state.Conflict, error) {
	var key, doc []byte
	err := s.one(ctx, []any{&key, &doc}, `SELECT key, doc FROM bm_conflict WHERE grp = $1 AND id = $2`, group, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return state.Conflict{}, errkind.New(errkind.NotFound, "read conflict %q of group %q: there is none", id, group)
	}
	if err != nil {
		return state.Conflict{}, classify("read conflict", err)
	}
	return record.DecodeConflict(string(key), doc)
}

// Cursor implements state.Store.
func (s *Store) Cursor(ctx context.Context, group, name string) (string, error) {
	var value []byte
	err := s.one(ctx, []any{&value}, `SELECT value FROM bm_cursor WHERE grp = $1 AND name = $2`, group, name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return string(value), classify("read cursor", err)
}

// SetCursor implements state.Store.
func (s *Store) SetCursor(ctx context.Context, group, name, value string) error {
	if err := record.CheckCursor(group, name); err != nil {
		return err
	}
	var err error
	if value == "" {
		err = s.exec(ctx, `DELETE FROM bm_cursor WHERE grp = $1 AND name = $2`, group, name)
	} else {
		err = s.exec(ctx, `INSERT INTO bm_cursor (grp, name, value) VALUES ($1, $2, $3)
			ON CONFLICT (grp, name) DO UPDATE SET value = excluded.value`, group, name, []byte(value))
	}
	return classify("write cursor", err)
}

// Stats implements state.Store. Keys are counted as they come and go; the others are counted from indexes.
func (s *Store) Stats(ctx context.Context, group string) (state.Stats, error) {
	var st state.Stats
	err := s.one(ctx, []any{&st.Keys, &st.Dirty, &st.Outbox, &st.Conflicts}, `SELECT
		(SELECT coalesce(sum(keys), 0)::bigint FROM bm_shard WHERE grp = $1),
		(SELECT count(*) FROM bm_dirty WHERE grp = $1),
		(SELECT count(*) FROM bm_outbox WHERE grp = $1),
		(SELECT count(*) FROM bm_conflict WHERE grp = $1)`, group)
	return st, classify("count state", err)
}
