package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Weigh implements state.Guards.
func (s *Store) Weigh(ctx context.Context, group, key string, f func(w *state.Weighing) error) error {
	if err := record.CheckKeys(group); err != nil {
		return err
	}
	var refused error
	err := s.w.do(ctx, func(ctx context.Context) error {
		w, err := s.weighing(ctx, group, key)
		if err != nil {
			return err
		}
		if refused = f(&w); refused != nil {
			return refused
		}
		return s.weighed(ctx, group, key, &w)
	})
	if refused != nil {
		return refused
	}
	return classify("weigh delete", err)
}

func (s *Store) weighing(ctx context.Context, group, key string) (w state.Weighing, err error) {
	var doc []byte
	var v sql.NullString
	var noted sql.NullInt64
	var waiting, approved sql.NullBool
	err = s.write.weigh.QueryRowContext(ctx, group, []byte(key)).Scan(&doc, &v, &noted, &waiting, &approved, &w.Keys)
	if err != nil {
		return w, fmt.Errorf("read delete brake: %w", err)
	}
	if w.Brake, err = record.DecodeBrake(doc); err != nil {
		return w, err
	}
	if v.Valid {
		w.Deletion = state.Deletion{
			Key: key, Version: version.ID(v.String), Noted: record.Time(noted.Int64), Waiting: waiting.Bool, Approved: approved.Bool,
		}
	}
	return w, nil
}

func (s *Store) weighed(ctx context.Context, group, key string, w *state.Weighing) error {
	doc, err := record.EncodeBrake(w.Brake)
	if err != nil {
		return err
	}
	if _, err := s.write.brake.ExecContext(ctx, group, doc); err != nil {
		return fmt.Errorf("write delete brake: %w", err)
	}
	switch d := w.Deletion; {
	case key == "":
	case d.Version == "":
		_, err = s.write.noDeletion.ExecContext(ctx, group, []byte(key))
	default:
		_, err = s.write.deletion.ExecContext(ctx, group, []byte(key), string(d.Version), record.Nanos(d.Noted), d.Waiting, d.Approved)
	}
	if err != nil {
		return fmt.Errorf("write deletion: %w", err)
	}
	for _, e := range w.Events {
		if _, err := s.write.event.ExecContext(ctx, group, e.ID, e.JSON); err != nil {
			return fmt.Errorf("add event: %w", err)
		}
	}
	return nil
}

// Brake implements state.Guards.
func (s *Store) Brake(ctx context.Context, group string) (state.Brake, error) {
	var doc []byte
	err := s.read.brake.QueryRowContext(ctx, group).Scan(&doc)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return state.Brake{}, classify("read delete brake", err)
	}
	return record.DecodeBrake(doc)
}

// Deletions implements state.Guards.
func (s *Store) Deletions(ctx context.Context, group, after string, limit int) ([]state.Deletion, error) {
	rows, err := s.read.deletions.QueryContext(ctx, group, []byte(after), record.Limit(limit))
	if err != nil {
		return nil, classify("list deletions", err)
	}
	return collect("list deletions", rows, func() (state.Deletion, error) {
		var key []byte
		var v string
		var noted int64
		d := state.Deletion{Waiting: true}
		err := rows.Scan(&key, &v, &noted, &d.Approved)
		d.Key, d.Version, d.Noted = string(key), version.ID(v), record.Time(noted)
		return d, err
	})
}

// ForgetDeletions implements state.Guards.
func (s *Store) ForgetDeletions(ctx context.Context, group string, before time.Time, limit int) (int, error) {
	return s.forget(ctx, s.write.forgetDeletions, "forget deletions", group, before, limit)
}

// ForgetRemoved implements state.Guards.
func (s *Store) ForgetRemoved(ctx context.Context, group string, before time.Time, limit int) (int, error) {
	return s.forget(ctx, s.write.forgetRemoved, "forget removed objects", group, before, limit)
}

func (s *Store) forget(ctx context.Context, stmt *sql.Stmt, what, group string, before time.Time, limit int) (n int, err error) {
	err = s.w.do(ctx, func(ctx context.Context) error {
		res, err := stmt.ExecContext(ctx, group, record.Nanos(before), record.Limit(limit))
		if err != nil {
			return err
		}
		rows, err := res.RowsAffected()
		n = int(rows)
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
	rows, err := s.read.removed.QueryContext(ctx, group, []byte(q.Prefix), above, record.Nanos(q.Since), q.Kept, record.Expiry(q),
		[]byte(q.AfterKey), q.AfterID, record.Limit(q.Limit))
	if err != nil {
		return nil, classify("list removed objects", err)
	}
	return collect("list removed objects", rows, func() (state.Removed, error) {
		var key, doc sql.RawBytes
		if err := rows.Scan(&key, &doc); err != nil {
			return state.Removed{}, err
		}
		return record.DecodeRemoved(string(key), doc)
	})
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
	return classify("write removed object", s.w.do(ctx, func(ctx context.Context) error { return s.setRemoved(ctx, &r, doc) }))
}

func (s *Store) setRemoved(ctx context.Context, r *state.Removed, doc string) error {
	_, err := s.write.removed.ExecContext(ctx, r.Group, []byte(r.Key), r.ID, record.Nanos(r.When), record.Nanos(r.Expires), r.End != "", doc)
	if err != nil {
		return fmt.Errorf("write removed object: %w", err)
	}
	return nil
}
