package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/policy"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Question is what is asked about an open conflict.
func Question(c state.Conflict, group string, p config.Policy) event.Conflict {
	q := event.Conflict{Group: group, Key: c.Key, ID: c.ID, Policy: string(p), Deadline: c.Deadline}
	for _, l := range c.Losers {
		v := event.ConflictVersion{ID: string(l.Version.ID), Replica: l.Replica, Kind: string(l.Version.Kind)}
		if l.Version.Kind == version.Put {
			v.Size, v.MD5, v.SHA256 = strconv.FormatInt(l.Version.Content.Size, 10), l.Version.Content.MD5, l.Version.Content.SHA256
		}
		if t := l.Version.ProviderTime; t != 0 {
			v.Written = time.Unix(0, t).UTC()
		}
		q.Heads, q.Versions = append(q.Heads, v.ID), append(q.Versions, v)
	}
	return q
}

// Judge decides conflicts of the policy webhook.
type Judge interface {
	// Ask tells of a conflict and returns the version that wins; "" means that it is not
	// decided yet. An error is no decision: the question is asked again until the deadline.
	Ask(ctx context.Context, rule config.ConflictRule, q event.Conflict) (winner version.ID, reason string, err error)
}

// askAtLeast is how long a webhook that has not decided is left alone, at most.
const askAtLeast = 10 * time.Minute

// ask is line 4 where somebody outside decides. waits means that the conflict stays as it is for now; otherwise the verdict says
// who wins, by decision or, after the deadline, by the fallback.
func (c *clash) ask(ctx context.Context) (waits, again bool, err error) {
	now := c.cfg.Clock.Now()
	deadline := c.rec.Detected.Add(c.rule.Deadline)
	if !now.Before(deadline) {
		c.verdict.Reason = fmt.Sprintf("nobody decided until %s, so %s", deadline.UTC().Format(time.RFC3339), c.verdict.Reason)
		return false, false, nil
	}
	c.rec.Losers = c.open()
	due, why := deadline, "a conflict waits for a person's decision until "+deadline.UTC().Format(time.RFC3339)
	if c.rule.Policy == config.Webhook && c.cfg.Judge != nil {
		q := Question(c.rec, c.cfg.Group, c.rule.Policy)
		q.Deadline = deadline
		winner, reason, err := c.cfg.Judge.Ask(ctx, c.rule, q)
		switch {
		case ctx.Err() != nil:
			return false, false, fmt.Errorf("ask webhook: %w", ctx.Err())
		case err != nil:
			why = "a conflict waits for its webhook, which can't be asked: " + err.Error()
		case winner == "":
			why = "a conflict waits for its webhook, which has not decided yet"
		case !slices.Contains(policy.MayWin(c.ranked), winner):
			why = fmt.Sprintf("a conflict waits for its webhook, which named %q: that is no version of this conflict that may win", winner)
		default:
			c.choose(winner, reason)
			return false, false, nil
		}
		// The longer it has waited, the less often it is asked: each question is an event, and on record.
		every := max(c.cfg.AskEvery, min(now.Sub(c.rec.Detected)/2, askAtLeast))
		if next := now.Add(every); next.Before(deadline) {
			due = next
		}
	}
	err = c.pend(ctx, deadline, due, why)
	return err == nil, errkind.Is(err, errkind.Conflict), err
}

// choose makes one of the heads the winner. All other puts are kept.
func (c *clash) choose(winner version.ID, reason string) {
	c.verdict.Winner, c.verdict.Keep, c.verdict.Reason = winner, c.puts(winner), reason
	c.verdict.Policy = string(c.rule.Policy)
}

// puts are the heads that are puts, but for one.
func (c *clash) puts(but version.ID) []version.ID {
	var out []version.ID
	for _, h := range c.ranked {
		if h.Version.Kind == version.Put && h.Version.ID != but {
			out = append(out, h.Version.ID)
		}
	}
	return out
}

// open are the heads as the record of an open conflict lists them.
func (c *clash) open() []state.Loser {
	losers := make([]state.Loser, 0, len(c.ranked))
	for _, h := range c.ranked {
		losers = append(losers, state.Loser{Version: *h.Version, Replica: h.Replica})
	}
	return losers
}

// pend records that somebody was asked, and says so once.
func (c *clash) pend(ctx context.Context, deadline, due time.Time, why string) error {
	fx := state.Effects{Dirty: &due, Reason: why}
	if c.rec.State != state.ConflictPending {
		q := Question(c.rec, c.cfg.Group, c.rule.Policy)
		q.Reason, q.Deadline = why, deadline
		ev, err := c.cfg.Announce(ctx, event.ConflictPending, q)
		if err != nil {
			return fmt.Errorf("announce question: %w", err)
		}
		fx.Events = append(fx.Events, ev)
	}
	c.rec.State, c.rec.Policy, c.rec.Reason, c.rec.Deadline = state.ConflictPending, string(c.rule.Policy), why, deadline
	row := c.row
	row.Pending = c.rec.ID
	fx.Conflicts = []state.Conflict{c.rec}
	if c.row.Pending != c.rec.ID {
		fx.Conflicts = append(c.supersede(ctx, &c.row, c.rec.ID), c.rec)
	}
	if _, err := c.cfg.Store.Commit(ctx, row, fx); err != nil {
		return fmt.Errorf("store question: %w", err)
	}
	return nil
}
