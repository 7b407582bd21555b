package reconcile

import (
	"context"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Side is one version of a conflict with its content.
type Side struct {
	Version version.Version `json:"version"`
	Replica string          `json:"replica"`
	Where   string          `json:"where"` // the key that it was read from; "" if it can't be read
	Winner  bool            `json:"winner,omitempty"`
	Content []byte          `json:"content,omitempty"`
	Why     string          `json:"why,omitempty"` // there is no content
}

// Sides are the versions of a conflict, open or decided, the winner first, with their contents of at most limit bytes each.
type Sides struct {
	Key   string `json:"key"`
	State string `json:"state"`
	Base  Side   `json:"base"` // what all of them followed, with a Why if it is not known
	Sides []Side `json:"sides"`
}

// Sides reads them. Nothing is changed. NotFound: no such conflict.
func (e *Engine) Sides(ctx context.Context, id string, limit int64) (all Sides, err error) {
	rec, err := e.record(ctx, id)
	if err != nil {
		return all, fmt.Errorf("show conflict: %w", err)
	}
	all.Key, all.State = rec.Key, rec.State
	if rec.State == state.ConflictResolved {
		all.Sides = append(all.Sides, e.sideAt(ctx, rec.Key, rec.WinnerAt, "", rec.Winner, limit))
		all.Sides[0].Winner = true
	}
	for _, l := range rec.Losers {
		key := rec.Key
		if l.Copy != "" {
			key = l.Copy
		}
		all.Sides = append(all.Sides, e.sideAt(ctx, key, l.Replica, l.Copy, l.Version, limit))
	}
	c := &clash{Engine: e, key: rec.Key, rule: e.cfg.Rule(rec.Key), rec: rec}
	c.rule.MaxSize = limit
	if c.row, err = e.cfg.Store.Get(ctx, e.cfg.Group, rec.Key); err != nil {
		return all, fmt.Errorf("read row: %w", err)
	}
	for i := range rec.Losers {
		c.ranked = append(c.ranked, policy.Head{Version: &rec.Losers[i].Version, Replica: rec.Losers[i].Replica})
	}
	if rec.State == state.ConflictResolved && len(rec.Winner.Sources) == 0 {
		c.ranked = append(c.ranked, policy.Head{Version: &rec.Winner})
	}
	for i := range all.Sides {
		if err := c.recall(ctx, &all.Sides[i]); err != nil {
			return all, err
		}
	}
	all.Base.Why = "the key was new, or what the versions have in common is not known any more, or too large"
	if len(c.ranked) > 0 {
		found, err := c.base(ctx)
		if err != nil {
			return all, err
		}
		if found != nil {
			all.Base = Side{Version: version.Version{ID: found.id, Kind: version.Put, Content: contentOfBytes(found.body)}, Replica: found.replica, Where: rec.Key, Content: found.body}
		}
	}
	return all, nil
}

// recall looks for a content that was overwritten since then among the versions that buckets keep.
func (c *clash) recall(ctx context.Context, s *Side) error {
	if s.Why == "" || s.Version.Kind != version.Put || s.Version.Content.Size > c.limit() {
		return nil
	}
	for _, m := range c.members {
		found, err := c.find(ctx, m.Name, version.Ancestor{ID: s.Version.ID, Content: s.Version.Content})
		if err != nil {
			return err
		}
		if found != nil {
			s.Where, s.Content, s.Why = c.key, found.body, ""
			return nil
		}
	}
	return nil
}

// sideAt reads a version at a replica, or its copy wherever that is.
func (e *Engine) sideAt(ctx context.Context, key, replica, copied string, v version.Version, limit int64) Side {
	s := Side{Version: v, Replica: replica}
	if v.Kind == version.Delete {
		s.Why = "it is a delete"
		return s
	}
	s.Why = fmt.Sprintf("its replica %q is not in the group any more", replica)
	at := []string{replica}
	for _, m := range e.members {
		if m.Name != replica && copied != "" {
			at = append(at, m.Name)
		}
	}
	for _, name := range at {
		if e.sites[name] == nil {
			continue
		}
		body, _, err := e.whole(ctx, name, key, nil, limit)
		switch {
		case err != nil:
			s.Why = err.Error()
		case contentOfBytes(body).Compare(v.Content) == version.Different:
			s.Why = fmt.Sprintf("%s holds something else at %q by now", name, key)
		default:
			s.Where, s.Content, s.Why = key, body, ""
			return s
		}
	}
	return s
}
