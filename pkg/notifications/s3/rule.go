package s3

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// The kinds of rules, by what they notify.
const (
	queue    = "queue"
	topic    = "topic"
	function = "function"
)

// rule is one entry of a bucket's configuration, whatever it notifies.
type rule struct {
	kind, id, arn  string
	events         []string
	prefix, suffix string
}

// events are what we ask for, by dialect. Everything that changes a key, its contents or its tags, and nothing else: each
// event costs. A server refuses names that it doesn't know. MinIO has tags among ObjectCreated; its lifecycle's deletes are
// ObjectRemoved but for the last one.
var events = map[string][]string{
	"aws":   {"s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleExpiration:*", "s3:ObjectTagging:*"},
	"minio": {"s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:LifecycleDelMarkerExpiration:Delete"},
	"rgw":   {"s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectLifecycle:Expiration:*"},
}

// wanted is the rule that the document asks for; nil if it asks for none or for EventBridge. Package config has judged the
// target's form.
func wanted(c Config) (*rule, error) {
	r, target := c.Replica, c.Replica.Notifications.Target
	w := &rule{id: c.ID, arn: target, events: events[r.Dialect], prefix: r.Prefix}
	arn := strings.Split(target, ":") // arn:PARTITION:SERVICE:REGION:ACCOUNT:NAME
	switch {
	case target == "", target == eventBridge && r.Dialect == "aws":
		return nil, nil //nolint:nilnil // nothing is asked for, or a switch, which is no rule
	case w.events == nil:
		return nil, errkind.New(errkind.Invalid, "notifications.target %q: a server of the dialect %s has no notifications of a bucket; remove the "+
			"target, and have the server itself post to its webhook URL", target, r.Dialect)
	case len(arn) >= 6 && arn[2] == "sqs":
		w.kind = queue
	case len(arn) >= 6 && arn[2] == "sns":
		w.kind = topic
	default:
		return nil, errkind.New(errkind.Invalid, "notifications.target %q: a bucket can't notify that; write the ARN of an SQS queue, an SNS topic or a "+
			"webhook of MinIO, or eventbridge", target)
	}
	return w, nil
}

// rules are the entries of a configuration.
func rules(c *types.NotificationConfiguration) []rule {
	var out []rule
	add := func(kind string, id, arn *string, names []types.Event, f *types.NotificationConfigurationFilter) {
		r := rule{kind: kind, id: aws.ToString(id), arn: aws.ToString(arn)}
		for _, n := range names {
			r.events = append(r.events, string(n))
		}
		if f != nil && f.Key != nil {
			for _, fr := range f.Key.FilterRules {
				if strings.EqualFold(string(fr.Name), "suffix") {
					r.suffix = aws.ToString(fr.Value)
				} else {
					r.prefix = aws.ToString(fr.Value)
				}
			}
		}
		out = append(out, r)
	}
	for _, q := range c.QueueConfigurations {
		add(queue, q.Id, q.QueueArn, q.Events, q.Filter)
	}
	for _, t := range c.TopicConfigurations {
		add(topic, t.Id, t.TopicArn, t.Events, t.Filter)
	}
	for _, l := range c.LambdaFunctionConfigurations {
		add(function, l.Id, l.LambdaFunctionArn, l.Events, l.Filter)
	}
	return out
}

// without is a configuration without the entries of an id. The others are as they were.
func without(c *types.NotificationConfiguration, id string) *types.NotificationConfiguration {
	ours := func(have *string) bool { return aws.ToString(have) == id }
	return &types.NotificationConfiguration{
		EventBridgeConfiguration: c.EventBridgeConfiguration,
		QueueConfigurations: slices.DeleteFunc(slices.Clone(c.QueueConfigurations),
			func(q types.QueueConfiguration) bool { return ours(q.Id) }),
		TopicConfigurations: slices.DeleteFunc(slices.Clone(c.TopicConfigurations),
			func(t types.TopicConfiguration) bool { return ours(t.Id) }),
		LambdaFunctionConfigurations: slices.DeleteFunc(slices.Clone(c.LambdaFunctionConfigurations),
			func(l types.LambdaFunctionConfiguration) bool { return ours(l.Id) }),
	}
}

// put adds a rule of ours to a configuration.
func put(c *types.NotificationConfiguration, r *rule) {
	names := make([]types.Event, 0, len(r.events))
	for _, e := range r.events {
		names = append(names, types.Event(e))
	}
	var filter *types.NotificationConfigurationFilter
	if r.prefix != "" {
		filter = &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: []types.FilterRule{
			{Name: types.FilterRuleNamePrefix, Value: aws.String(r.prefix)},
		}}}
	}
	if r.kind == topic {
		c.TopicConfigurations = append(c.TopicConfigurations,
			types.TopicConfiguration{Id: aws.String(r.id), TopicArn: aws.String(r.arn), Events: names, Filter: filter})
		return
	}
	c.QueueConfigurations = append(c.QueueConfigurations,
		types.QueueConfiguration{Id: aws.String(r.id), QueueArn: aws.String(r.arn), Events: names, Filter: filter})
}

// compare lists what differs between a rule of ours and what it has to be.
func compare(have, want rule) []notifications.Difference {
	d := notifications.Diff(nil, "target", have.arn, want.arn)
	d = notifications.DiffSet(d, "events", have.events, want.events)
	d = notifications.Diff(d, "prefix", have.prefix, want.prefix)
	return notifications.Diff(d, "suffix", have.suffix, want.suffix)
}

// overlaps reports whether one change can match two rules, which S3 (not MinIO) refuses.
func (r rule) overlaps(other rule) bool {
	nested := func(a, b string, within func(string, string) bool) bool { return within(a, b) || within(b, a) }
	return nested(r.prefix, other.prefix, strings.HasPrefix) && nested(r.suffix, other.suffix, strings.HasSuffix) &&
		slices.ContainsFunc(r.events, func(a string) bool {
			return slices.ContainsFunc(other.events, func(b string) bool {
				return nested(strings.TrimSuffix(a, "*"), strings.TrimSuffix(b, "*"), strings.HasPrefix)
			})
		})
}

// name is how a person finds a rule.
func (r rule) name() string {
	if r.id == "" {
		return r.kind + " " + r.arn
	}
	return r.id
}

func (r rule) entry(state notifications.State, action notifications.Action) notifications.Entry {
	return notifications.Entry{
		Name: r.name(), Kind: r.kind, State: state, Action: action, Target: r.arn, Events: r.events, Prefix: r.prefix, Suffix: r.suffix,
	}
}
