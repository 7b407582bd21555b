package notifications

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// DefaultTimeout of the work on one replica.
const DefaultTimeout = 10 * time.Minute

// Opener makes the Provider of a replica; id is what ours carries. It sends no request but for credentials.
type Opener func(ctx context.Context, r config.Replica, id string) (Provider, error)

// Command is what Run does.
type Command struct {
	Goal   Goal
	Change bool // false: look only
}

// Options of Run.
type Options struct {
	Group    *config.Group
	Replicas []string          // names; none: all of the group
	Openers  map[string]Opener // by provider
	Timeout  time.Duration     // of the work on one replica; 0: DefaultTimeout
}

// Status of a replica.
type Status string

// The states of a replica.
const (
	Set           Status = "set"            // everything is as it must be
	Lacking       Status = "lacking"        // something is to be done
	Removed       Status = "removed"        // nothing of ours is there
	RefusedStatus Status = "refused"        // the document or the set-up can't work: a finding says why
	NotConfigured Status = "not configured" // the document names nothing to set up
	Failed        Status = "failed"         // the provider could not be asked, or refused
)

// Outcome is what Run found and did at one replica.
type Outcome struct {
	Replica  string    `json:"replica"`
	Provider string    `json:"provider"`
	ID       string    `json:"id"` // of ours
	Target   string    `json:"target,omitempty"`
	Status   Status    `json:"status"`
	Done     []Entry   `json:"done,omitempty"` // what was added, changed and removed
	Entries  []Entry   `json:"entries,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	Error    string    `json:"error,omitempty"`

	Err error `json:"-"` // why it failed
}

// Run does a command for replicas of a group, one after the other, and goes on when one fails. The error is about the
// call itself: a replica that is not in the group.
func Run(ctx context.Context, o Options, c Command) ([]Outcome, error) {
	replicas := o.Group.Replicas
	if len(o.Replicas) > 0 {
		replicas = nil
		for _, name := range o.Replicas {
			r, ok := o.Group.Replica(name)
			if !ok {
				return nil, errkind.New(errkind.NotFound, "the group %s has no replica %q", o.Group.Name, name)
			}
			replicas = append(replicas, r)
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	outcomes := make([]Outcome, 0, len(replicas))
	for _, r := range replicas {
		outcomes = append(outcomes, one(ctx, o, c, r))
	}
	return outcomes, nil
}

// one is Run for one replica.
func one(ctx context.Context, o Options, c Command, r config.Replica) Outcome {
	out := Outcome{Replica: r.Name, Provider: r.Provider, ID: ID(o.Group.Name, r.Name), Target: r.Notifications.Target}
	if c.Goal == Remove { // ours is known by its id: a target that can't work any more must not keep it
		r.Notifications = config.Notifications{Scope: r.Notifications.Scope}
	}
	if missing, ok := unconfigured(r, c.Goal); ok {
		out.Status, out.Findings = NotConfigured, []Finding{missing}
		return out
	}
	open := o.Openers[r.Provider]
	if open == nil {
		return out.fail(errkind.New(errkind.Unsupported, "set up notifications of replica %s: this program can't do that for the provider %s", r.Name, r.Provider))
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	p, err := open(ctx, r, out.ID)
	if err != nil {
		return out.fail(fmt.Errorf("replica %s: %w", r.Name, err))
	}
	out, err = do(ctx, p, c, out)
	if err = errors.Join(err, p.Close()); err != nil {
		return out.fail(fmt.Errorf("replica %s: %w", r.Name, err))
	}
	return out
}

// do plans, applies if it is asked to, and looks again.
func do(ctx context.Context, p Provider, c Command, out Outcome) (Outcome, error) {
	plan, err := p.Plan(ctx, c.Goal)
	if err != nil {
		return out, err //nolint:wrapcheck // one adds the replica; the provider says what it was doing
	}
	_, refused := plan.Refusal()
	if c.Change && !refused && !plan.Settled() {
		if err := p.Apply(ctx, c.Goal); err != nil {
			return out.seen(plan, c.Goal), err //nolint:wrapcheck // the same
		}
		out.Done = slices.DeleteFunc(slices.Clone(plan.Entries), func(e Entry) bool { return e.Action == Keep })
		if plan, err = p.Plan(ctx, c.Goal); err != nil {
			return out, fmt.Errorf("look at what was done: %w", err)
		}
	}
	return out.seen(plan, c.Goal), nil
}

func (o Outcome) seen(p Plan, goal Goal) Outcome {
	o.Entries, o.Findings = p.Entries, p.Findings
	_, refused := p.Refusal()
	switch {
	case refused:
		o.Status = RefusedStatus
	case !p.Settled():
		o.Status = Lacking
	case goal == Remove:
		o.Status = Removed
	default:
		o.Status = Set
	}
	return o
}

func (o Outcome) fail(err error) Outcome {
	o.Status, o.Err, o.Error = Failed, err, err.Error()
	return o
}

// unconfigured says what is missing for a goal. What was installed once can be removed after the target is gone from the
// document, as long as the document says where it is.
func unconfigured(r config.Replica, goal Goal) (Finding, bool) {
	f := Finding{Level: Advice, About: "notifications.target"}
	n := r.Notifications
	switch {
	case r.Provider == "mem":
		f.Text = "a bucket in memory tells nobody"
	case r.Provider == "s3" && r.Dialect == "versitygw" && n.Target == "":
		f.Text = "versitygw has no notifications of a bucket: it posts the changes of all its buckets to one URL"
		f.Mend = "start it with --event-webhook-url http://USER:TOKEN@HOST:PORT/s3/" + r.Name
	case r.Provider == "azblob" && n.Scope == "" && (n.Target == "" || goal == Remove):
		f.About = "notifications.scope"
		f.Text = "not set: nothing says which storage account in Azure it is"
		f.Mend = "set notifications.scope to its resource id (az storage account show --query id), and notifications.target"
	case n.Target == "" && goal == Install:
		f.Text = "not set: nothing says what the bucket is to notify"
		f.Mend = "set it to " + targets(r)
	default:
		return Finding{}, false
	}
	return f, true
}

// targets lists what a replica's bucket can notify.
func targets(r config.Replica) string {
	switch {
	case r.Provider == "s3" && r.Dialect == "minio":
		return "the ARN of a target of the server, such as arn:minio:sqs::T1:webhook (mc admin info --json lists them)"
	case r.Provider == "s3" && r.Dialect == "rgw":
		return "the ARN of a topic, such as arn:aws:sns:default::TOPIC"
	case r.Provider == "s3":
		return "the ARN of an SQS queue or an SNS topic, or eventbridge"
	case r.Provider == "gcs":
		return "projects/PROJECT/topics/TOPIC"
	case r.Provider == "azblob":
		return "https://HOST/azure/" + r.Name + ", or the resource id of a Storage Queue (/subscriptions/.../queueServices/default/queues/NAME)"
	}
	return "what it is to notify"
}
