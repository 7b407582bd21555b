package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Get implements state.Store.
func (s *Store) Get(ctx context.Context, group, key string) (state.Row, error) {
	var rev, floor, mark sql.NullInt64
	var doc sql.RawBytes
	rows, err := s.read.get.QueryContext(ctx, group, []byte(key), record.Shard(key))
	if err != nil {
		return state.Row{}, classify("read row", err)
	}
	defer rows.Close()
	if !rows.Next() { // there is always one, unless the query failed
		return state.Row{}, classify("read row", cmp.Or(rows.Err(), sql.ErrNoRows))
	}
	if err := rows.Scan(&rev, &doc, &floor, &mark); err != nil {
		return state.Row{}, classify("read row", err)
	}
	if !rev.Valid {
		return state.Row{Group: group, Key: key, AsOf: floor.Int64, DirtyMark: mark.Int64}, nil
	}
	row, err := record.Decode(group, key, rev.Int64, doc)
	row.DirtyMark = mark.Int64
	return row, err
}

// Rows implements state.Store.
func (s *Store) Rows(ctx context.Context, group, after string, limit int) ([]state.Row, error) {
	rows, err := s.read.rows.QueryContext(ctx, group, []byte(after), record.Limit(limit))
	if err != nil {
		return nil, classify("list rows", err)
	}
	return collect("list rows", rows, func() (state.Row, error) {
		var key, doc sql.RawBytes
		var rev int64
		if err := rows.Scan(&key, &rev, &doc); err != nil {
			return state.Row{}, err
		}
		return record.Decode(group, string(key), rev, doc)
	})
}

// Commit implements state.Store.
func (s *Store) Commit(ctx context.Context, row state.Row, fx state.Effects) (int64, error) {
	if err := record.Check(row, fx); err != nil {
		return 0, err
	}
	c := change{s: s, key: []byte(row.Key), row: row, fx: fx}
	if err := c.encode(); err != nil {
		return 0, err
	}
	if err := s.w.do(ctx, c.run); err != nil {
		return 0, classify(fmt.Sprintf("commit row %q of group %q", row.Key, row.Group), err)
	}
	return c.rev, nil
}

// change is one Commit. Documents are made before the writer's turn, so that others need not wait for that.
type change struct {
	s         *Store
	key       []byte
	row       state.Row
	fx        state.Effects
	doc       string
	conflicts []string
	removed   []string
	rev       int64 // the result
}

func (c *change) encode() error {
	if !c.fx.Remove {
		doc, err := record.Encode(c.row)
		if err != nil {
			return err
		}
		c.doc = string(doc)
	}
	for _, cf := range c.fx.Conflicts {
		doc, err := record.EncodeConflict(cf)
		if err != nil {
			return err
		}
		c.conflicts = append(c.conflicts, string(doc))
	}
	for _, r := range c.fx.Removed {
		doc, err := record.EncodeRemoved(r)
		if err != nil {
			return err
		}
		c.removed = append(c.removed, doc)
	}
	return nil
}

func (c *change) run(ctx context.Context) error {
	var err error
	switch {
	case c.fx.Remove:
		err = c.remove(ctx)
	case c.row.Rev == 0:
		err = c.create(ctx)
	default:
		c.rev = record.NextRev(c.s.now(), c.row.Rev, 0)
		err = c.expectOne(c.s.write.update.ExecContext(ctx, c.row.Group, c.key, c.row.Rev, c.rev, c.doc))
	}
	if err != nil {
		return err
	}
	return c.effects(ctx)
}

func (c *change) create(ctx context.Context) error {
	var floor int64
	err := c.s.write.grow.QueryRowContext(ctx, c.row.Group, record.Shard(c.row.Key)).Scan(&floor)
	if err != nil {
		return fmt.Errorf("count key: %w", err)
	}
	if floor > c.row.AsOf {
		return errkind.New(errkind.Conflict, "commit row %q of group %q: it may have come and gone since it was read", c.row.Key, c.row.Group)
	}
	c.rev = record.NextRev(c.s.now(), 0, floor)
	return c.expectOne(c.s.write.create.ExecContext(ctx, c.row.Group, c.key, c.rev, c.doc))
}

func (c *change) remove(ctx context.Context) error {
	if c.row.Rev == 0 {
		var exists bool
		if err := c.s.write.exists.QueryRowContext(ctx, c.row.Group, c.key).Scan(&exists); err != nil {
			return fmt.Errorf("look for row: %w", err)
		}
		if exists {
			return c.conflict()
		}
		return nil
	}
	if err := c.expectOne(c.s.write.remove.ExecContext(ctx, c.row.Group, c.key, c.row.Rev)); err != nil {
		return err
	}
	_, err := c.s.write.shrink.ExecContext(ctx, c.row.Group, record.Shard(c.row.Key), c.row.Rev)
	return err
}

func (c *change) effects(ctx context.Context) error {
	w, fx, group := &c.s.write, &c.fx, c.row.Group
	if err := c.wake(ctx); err != nil {
		return fmt.Errorf("change dirty entry: %w", err)
	}
	for _, e := range fx.Events {
		if _, err := w.event.ExecContext(ctx, group, e.ID, e.JSON); err != nil {
			return fmt.Errorf("add event: %w", err)
		}
	}
	for i, cf := range fx.Conflicts {
		_, err := w.conflict.ExecContext(ctx, group, cf.ID, c.key, cf.State, record.Nanos(cf.Detected), c.conflicts[i])
		if err != nil {
			return fmt.Errorf("write conflict: %w", err)
		}
	}
	for i := range fx.Removed {
		if err := c.s.setRemoved(ctx, &fx.Removed[i], c.removed[i]); err != nil {
			return err
		}
	}
	return nil
}

// wake is the part of the effects that changes the dirty entry.
func (c *change) wake(ctx context.Context) (err error) {
	w, fx, group := &c.s.write, &c.fx, c.row.Group
	switch {
	case fx.Dirty != nil:
		_, err = w.soil.ExecContext(ctx, group, c.key, record.Nanos(*fx.Dirty), fx.Attempts, record.Reason(fx.Reason), c.row.DirtyMark)
	case fx.ClearDirty:
		_, err = w.clean.ExecContext(ctx, group, c.key, c.row.DirtyMark)
	case fx.ClearLease:
		_, err = w.unlease.ExecContext(ctx, group, c.key)
	case fx.Lease != nil:
		_, err = w.lease.ExecContext(ctx, group, c.key, record.Nanos(*fx.Lease))
	}
	return err
}

func (c *change) expectOne(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("count rows: %w", err)
	}
	if n != 1 {
		return c.conflict()
	}
	return nil
}

func (c *change) conflict() error {
	return errkind.New(errkind.Conflict, "commit row %q of group %q: it is not at revision %d", c.row.Key, c.row.Group, c.row.Rev)
}

// collect reads all rows with scan and closes them.
func collect[E any](what string, rows *sql.Rows, scan func() (E, error)) ([]E, error) {
	var out []E
	for rows.Next() {
		e, err := scan()
		if err != nil {
			return nil, classify(what, errors.Join(err, rows.Close()))
		}
		out = append(out, e)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, classify(what, err)
	}
	return out, nil
}
