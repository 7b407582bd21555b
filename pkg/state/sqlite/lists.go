package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// chunk bounds the keys of one transaction, so that a large enqueue does not hold up the commits.
const chunk = 500

// MarkDirty implements state.Store. Many keys take several transactions.
func (s *Store) MarkDirty(ctx context.Context, group string, keys []string, due time.Time, reason string) error {
	if err := record.CheckKeys(group, keys...); err != nil {
		return err
	}
	at, reason := record.Nanos(due), record.Reason(reason)
	for part := range slices.Chunk(keys, chunk) {
		err := s.w.do(ctx, func(ctx context.Context) error {
			for _, key := range part {
				if _, err := s.write.mark.ExecContext(ctx, group, []byte(key), at, reason); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return classify("mark keys dirty", err)
		}
	}
	return nil
}

// Due implements state.Store.
func (s *Store) Due(ctx context.Context, group string, now time.Time, limit int) ([]state.Dirty, error) {
	rows, err := s.read.due.QueryContext(ctx, group, record.Nanos(now), record.Limit(limit))
	if err != nil {
		return nil, classify("list dirty keys", err)
	}
	return collect("list dirty keys", rows, func() (state.Dirty, error) {
		var key []byte
		var due int64
		d := state.Dirty{Group: group}
		err := rows.Scan(&key, &due, &d.Attempts, &d.Reason, &d.Mark)
		d.Key, d.Due = string(key), record.Time(due)
		return d, err
	})
}

// NextDue implements state.Store.
func (s *Store) NextDue(ctx context.Context, group string) (time.Time, bool, error) {
	var due sql.NullInt64
	if err := s.read.nextDue.QueryRowContext(ctx, group).Scan(&due); err != nil {
		return time.Time{}, false, classify("read next due time", err)
	}
	if !due.Valid {
		return time.Time{}, false, nil
	}
	return record.Time(due.Int64), true, nil
}

// Outbox implements state.Store.
func (s *Store) Outbox(ctx context.Context, limit int) ([]state.OutboxEvent, error) {
	rows, err := s.read.outbox.QueryContext(ctx, record.Limit(limit))
	if err != nil {
		return nil, classify("read outbox", err)
	}
	return collect("read outbox", rows, func() (e state.OutboxEvent, err error) {
		err = rows.Scan(&e.Seq, &e.ID, &e.JSON)
		return e, err
	})
}

// Published implements state.Store.
func (s *Store) Published(ctx context.Context, seqs []int64) error {
	for part := range slices.Chunk(seqs, chunk) {
		err := s.w.do(ctx, func(ctx context.Context) error {
			for _, seq := range part {
				if _, err := s.write.published.ExecContext(ctx, seq); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return classify("remove published events", err)
		}
	}
	return nil
}

// Conflicts implements state.Store.
func (s *Store) Conflicts(ctx context.Context, group, st string, limit int) ([]state.Conflict, error) {
	stmt, args := s.read.conflicts, []any{group, record.Limit(limit)}
	if st != "" {
		states, err := json.Marshal(record.States(st))
		if err != nil {
			return nil, classify("list conflicts", err)
		}
		stmt, args = s.read.conflictsIn, append(args, string(states))
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, classify("list conflicts", err)
	}
	return collect("list conflicts", rows, func() (state.Conflict, error) {
		var key, doc sql.RawBytes
		if err := rows.Scan(&key, &doc); err != nil {
			return state.Conflict{}, err
		}
		return record.DecodeConflict(string(key), doc)
	})
}

// Conflict implements state.Store.
func (s *Store) Conflict(ctx context.Context, group, id string) (state.Conflict, error) {
	var key, doc []byte
	err := s.read.conflict.QueryRowContext(ctx, group, id).Scan(&key, &doc)
	if errors.Is(err, sql.ErrNoRows) {
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
	err := s.read.cursor.QueryRowContext(ctx, group, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return string(value), classify("read cursor", err)
}

// SetCursor implements state.Store.
func (s *Store) SetCursor(ctx context.Context, group, name, value string) error {
	if err := record.CheckCursor(group, name); err != nil {
		return err
	}
	return classify("write cursor", s.w.do(ctx, func(ctx context.Context) error {
		if value == "" {
			_, err := s.write.noCursor.ExecContext(ctx, group, name)
			return err
		}
		_, err := s.write.setCursor.ExecContext(ctx, group, name, []byte(value))
		return err
	}))
}

// Stats implements state.Store. Keys are counted as they come and go; the others are counted from indexes.
func (s *Store) Stats(ctx context.Context, group string) (state.Stats, error) {
	var st state.Stats
	err := s.read.stats.QueryRowContext(ctx, group).Scan(&st.Keys, &st.Dirty, &st.Outbox, &st.Conflicts)
	return st, classify("count state", err)
}
