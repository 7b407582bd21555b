package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Proposal is what would happen to a key.
type Proposal struct {
	Key     string            `json:"key"`
	Heads   []Side            `json:"heads"` // what the replicas hold, without contents
	Real    bool              `json:"real"`  // they are in conflict now; false: each replica is taken for a writer of its own
	Policy  string            `json:"policy"`
	Winner  version.ID        `json:"winner,omitempty"`
	Keep    []version.ID      `json:"keep"` // what would be kept as copies
	Reason  string            `json:"reason"`
	Waits   bool              `json:"waits,omitempty"`   // somebody outside would be asked first
	Merged  []byte            `json:"merged,omitempty"`  // the content that would be written
	Unknown map[string]string `json:"unknown,omitempty"` // replicas that did not answer
}

// Try tells what would happen if what the replicas hold now were in conflict. It looks, and changes nothing.
func (e *Engine) Try(ctx context.Context, key string) (Proposal, error) {
	p := Proposal{Key: key, Keep: []version.ID{}}
	row, err := e.cfg.Store.Get(ctx, e.cfg.Group, key)
	if err != nil {
		return p, fmt.Errorf("read row: %w", err)
	}
	w := &work{Engine: e, key: key, full: true}
	now := e.cfg.Clock.Now()
	l := w.look(ctx, row)
	if err := ctx.Err(); err != nil {
		return p, fmt.Errorf("look at replicas: %w", err)
	}
	p.Unknown = l.why
	s := plan.Plan(row, plan.View{Members: e.members, Seen: l.seen, Unknown: l.unknown, LookedAt: now, Now: now, Deletes: e.cfg.Deletes, Past: w.remembers()})
	c := &clash{Engine: e, key: key, row: s.Row, heads: s.Heads, rule: e.cfg.Rule(key)}
	if p.Real = s.Action == plan.Conflict; !p.Real {
		c.heads = apart(&c.row, e.members, l.seen)
	}
	c.ranked = e.policyHeads(&c.row, c.heads)
	for _, h := range c.ranked {
		p.Heads = append(p.Heads, Side{Version: *h.Version, Replica: h.Replica, Where: key})
	}
	if len(c.heads) < 2 {
		p.Reason = nothingToDecide(len(p.Heads))
		return p, nil
	}
	c.verdict = policy.Decide(c.rule, c.ranked, len(e.members))
	p.Policy, p.Winner, p.Reason = c.verdict.Policy, c.verdict.Winner, c.verdict.Reason
	p.Keep = append(p.Keep, c.verdict.Keep...)
	switch c.verdict.Action {
	case policy.Ask:
		p.Waits = true
	case policy.Merge:
		return c.tryMerge(ctx, p)
	case policy.Take:
	}
	return p, nil
}

func (c *clash) tryMerge(ctx context.Context, p Proposal) (Proposal, error) {
	sides, err := c.read(ctx)
	if err == nil {
		err = c.combine(ctx, sides)
	}
	switch {
	case errkind.Is(err, errkind.Invalid):
		p.Reason = fmt.Sprintf("can't be merged: %v; %s", err, p.Reason)
	case err != nil:
		return p, err
	default:
		p.Policy, p.Merged, p.Winner, p.Keep = string(config.Merge), sides.content, "", c.puts("")
		p.Reason = fmt.Sprintf("the edits of %d versions would be merged", len(sides.all))
		for _, s := range sides.all {
			if bytes.Equal(s.body, sides.content) {
				p.Winner, p.Keep, p.Reason = s.id, c.puts(s.id), fmt.Sprintf("what %s of %s holds has the edits of all others", s.id, s.replica)
			}
		}
	}
	return p, nil
}

// apart gives each content that the replicas hold a version that knows of no other.
func apart(row *state.Row, members []plan.Member, seen map[string]plan.Observation) []version.ID {
	var heads []version.ID
	for _, m := range members {
		o, ok := seen[m.Name]
		if !ok || !o.Print.Present {
			continue
		}
		same := slices.IndexFunc(heads, func(id version.ID) bool {
			v := row.Versions[id]
			return v.MetaHash == o.Print.MetaHash && v.Content.Compare(o.Content) == version.Equal
		})
		id := version.ID(m.Name)
		if same >= 0 {
			id = heads[same]
		} else {
			heads = append(heads, id)
			row.Versions[id] = &version.Version{
				ID: id, Kind: version.Put, Content: o.Content, MetaHash: o.Print.MetaHash, Origin: m.Name,
				Vector: version.Vector{m.Name: 1}, HLC: version.Timestamp(o.Time), ProviderTime: o.Time,
			}
		}
		row.Replicas[m.Name] = state.Replica{Version: id, Print: o.Print}
	}
	return heads
}

func nothingToDecide(heads int) string {
	if heads == 0 {
		return "no replica is known to hold anything: there is nothing to decide"
	}
	return "the replicas hold the same, or only one of them holds anything: there is nothing to decide"
}
