package s3

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// Plan implements notifications.Provider.
func (b *Bucket) Plan(ctx context.Context, goal notifications.Goal) (notifications.Plan, error) {
	c, err := b.read(ctx)
	if err != nil {
		return notifications.Plan{}, err
	}
	p := b.plan(c, goal)
	if goal == notifications.Install {
		p.Findings = append(p.Findings, b.checkQueues(ctx)...)
	}
	return p, nil
}

// plan compares a configuration with what is wanted.
func (b *Bucket) plan(c *types.NotificationConfiguration, goal notifications.Goal) notifications.Plan {
	var p notifications.Plan
	want := b.want
	if goal == notifications.Remove {
		want = nil
	}
	found := false
	for _, r := range rules(c) {
		switch {
		case r.id != b.cfg.ID:
			p.Entries = append(p.Entries, r.entry(notifications.Foreign, notifications.Keep))
			if want != nil && r.overlaps(*want) {
				p.Findings = append(p.Findings, b.overlapping(r))
			}
		case want != nil && !found && r.kind == want.kind:
			found = true
			e := want.entry(notifications.Present, notifications.Keep)
			if e.Differences = compare(r, *want); len(e.Differences) > 0 {
				e.State, e.Action = notifications.Different, notifications.Change
			}
			p.Entries = append(p.Entries, e)
		default:
			p.Entries = append(p.Entries, r.entry(notifications.Surplus, notifications.RemoveEntry))
		}
	}
	if want != nil && !found {
		p.Entries = append(p.Entries, want.entry(notifications.Missing, notifications.Add))
	}
	b.planSwitch(&p, c, goal)
	return p
}

// planSwitch is plan for EventBridge.
func (b *Bucket) planSwitch(p *notifications.Plan, c *types.NotificationConfiguration, goal notifications.Goal) {
	ours, on := b.cfg.Replica.Notifications.Target == eventBridge, c.EventBridgeConfiguration != nil
	e := notifications.Entry{Name: eventBridge, Kind: eventBridge, Target: eventBridge, Action: notifications.Keep}
	switch {
	case !on && (!ours || goal == notifications.Remove):
		return
	case goal == notifications.Remove:
		e.State = notifications.Foreign
		p.Findings = append(p.Findings, notifications.Finding{
			Level: notifications.Advice, About: "EventBridge",
			Text: "it stays on: it is a switch of the bucket, and nothing tells who else relies on it",
			Mend: "if nobody does, turn it off in the bucket's properties",
		})
	case !ours:
		e.State = notifications.Foreign
	case on:
		e.State = notifications.Present
	default:
		e.State, e.Action = notifications.Missing, notifications.Add
	}
	p.Entries = append(p.Entries, e)
}

// overlapping is about a foreign rule that tells of the same changes.
func (b *Bucket) overlapping(r rule) notifications.Finding {
	f := notifications.Finding{
		Level: notifications.Warning, About: r.name(),
		Text: fmt.Sprintf("somebody else's entry (%s) for the same events and prefix", r.arn),
	}
	switch {
	case b.cfg.Replica.Dialect == "aws":
		f.Text += ": S3 refuses two such entries"
		f.Mend = "have it notify an SNS topic and subscribe both receivers to it, or use the target eventbridge"
	case r.arn == b.cfg.Replica.Notifications.Target:
		f.Text += " and the same target: each change is told twice, which is harmless"
	default:
		f.Level = notifications.Advice
		f.Text += ": both are told"
	}
	return f
}

// Apply implements notifications.Provider.
func (b *Bucket) Apply(ctx context.Context, goal notifications.Goal) error {
	if goal == notifications.Install {
		if f, refused := (notifications.Plan{Findings: b.checkQueues(ctx)}).Refusal(); refused {
			return errkind.New(errkind.Invalid, "%s", f)
		}
	}
	before, err := b.read(ctx)
	if err != nil {
		return err
	}
	if b.plan(before, goal).Settled() {
		return nil
	}
	after := without(before, b.cfg.ID)
	if goal == notifications.Install {
		switch {
		case b.want != nil:
			put(after, b.want)
		case after.EventBridgeConfiguration == nil && b.cfg.Replica.Notifications.Target == eventBridge:
			after.EventBridgeConfiguration = &types.EventBridgeConfiguration{}
		}
	}
	wctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	_, err = b.client.PutBucketNotificationConfiguration(wctx, &awss3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String(b.cfg.Replica.Bucket), NotificationConfiguration: after,
	})
	if err != nil {
		return b.failWrite(err, before)
	}
	return b.verify(ctx, goal, before)
}

// verify reads until the configuration shows what was written (S3 may take a while), and reports what got lost.
func (b *Bucket) verify(ctx context.Context, goal notifications.Goal, before *types.NotificationConfiguration) error {
	deadline := time.NewTimer(b.cfg.VerifyTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(b.cfg.VerifyEvery)
	defer tick.Stop()
	for {
		now, err := b.read(ctx)
		if err != nil {
			return fmt.Errorf("after the write: %w", err)
		}
		lost := lost(foreign(before, b.cfg.ID), foreign(now, b.cfg.ID))
		settled := b.plan(now, goal).Settled()
		if settled && len(lost) == 0 {
			return nil
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			return fmt.Errorf("wait for the configuration: %w", ctx.Err())
		case <-deadline.C:
		}
		switch {
		case len(lost) > 0:
			return errkind.New(errkind.Conflict, "the bucket's configuration was changed by somebody else at the same time: these entries "+
				"were there before the write and are gone or changed: %s; ask their owners", strings.Join(lost, ", "))
		case goal == notifications.Remove && b.cfg.Replica.Dialect == "rgw":
			return errkind.New(errkind.Unsupported, "this RGW keeps entries that a new configuration leaves out; remove ours with its own "+
				"request: DELETE /%s?notification=%s", b.cfg.Replica.Bucket, b.cfg.ID)
		}
		return errkind.New(errkind.Unavailable, "the configuration does not show what was written after %s: somebody else may have written at "+
			"the same time; run it again", b.cfg.VerifyTimeout)
	}
}

// foreign are the entries of others, as they are sent.
func foreign(c *types.NotificationConfiguration, id string) map[string]any {
	c = without(c, id)
	all := map[string]any{}
	add := func(kind string, id, arn *string, entry any) {
		name := rule{kind: kind, id: aws.ToString(id), arn: aws.ToString(arn)}.name()
		for all[name] != nil { // without an id, or with the same one
			name += "'"
		}
		all[name] = entry
	}
	for _, q := range c.QueueConfigurations {
		add(queue, q.Id, q.QueueArn, q)
	}
	for _, t := range c.TopicConfigurations {
		add(topic, t.Id, t.TopicArn, t)
	}
	for _, l := range c.LambdaFunctionConfigurations {
		add(function, l.Id, l.LambdaFunctionArn, l)
	}
	if c.EventBridgeConfiguration != nil {
		all[eventBridge] = true
	}
	return all
}

// lost names what was there and is not, or not the same.
func lost(before, now map[string]any) []string {
	var names []string
	for name, entry := range before {
		if !reflect.DeepEqual(entry, now[name]) {
			names = append(names, name)
		}
	}
	return names
}
