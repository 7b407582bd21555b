package pull

import (
	"context"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
	"github.com/bucketmesh/bucketmesh/pkg/pull/azqueue"
	"github.com/bucketmesh/bucketmesh/pkg/pull/pubsub"
	"github.com/bucketmesh/bucketmesh/pkg/pull/queue"
	"github.com/bucketmesh/bucketmesh/pkg/pull/sqs"
)

// named is a queue, and who names it.
type named struct {
	url   string // as the replicas write it
	owner config.Replica
	all   []config.Replica // of the provider: a queue can tell of buckets of the same store that don't name it
}

// queuesOf are the queues of a group, each once.
func queuesOf(g *config.Group) ([]named, error) {
	var found []named
	for _, r := range g.Replicas {
		if r.Notifications.Pull == "" {
			continue
		}
		if !slices.Contains([]string{"s3", "gcs", "azblob"}, r.Provider) {
			return nil, errkind.New(errkind.Invalid, "replica %s: notifications.pull: there are no queues of %s", r.Name, r.Provider)
		}
		i := slices.IndexFunc(found, func(q named) bool { return q.url == r.Notifications.Pull })
		if i < 0 {
			q := named{url: r.Notifications.Pull, owner: r}
			for _, other := range g.Replicas {
				if other.Provider == r.Provider {
					q.all = append(q.all, other)
				}
			}
			found = append(found, q)
			continue
		}
		// A message says the bucket, and not whose it is; and a queue is opened once.
		switch first := found[i].owner; {
		case first.Provider != r.Provider || server(first) != server(r):
			return nil, errkind.New(errkind.Invalid, "replicas %s and %s: notifications.pull is the same queue, and their buckets are at different stores: "+
				"use a queue for each", first.Name, r.Name)
		case first.Credentials != r.Credentials:
			return nil, errkind.New(errkind.Invalid, "replicas %s and %s: notifications.pull is the same queue, with different credentials=: "+
				"write the same, or use a queue for each", first.Name, r.Name)
		}
	}
	return found, nil
}

// server is where a replica's bucket is, as the normalizers tell stores apart.
func server(r config.Replica) string {
	switch r.Provider {
	case "gcs":
		return gcs.StoreOf(r).Server
	case "azblob":
		return azure.StoreOf(r).Server
	}
	return s3.StoreOf(r).Server
}

// open makes the source.
func (q named) open(c Config) (queue.Source, error) {
	var values []string
	for _, name := range q.owner.CredentialVariables() {
		v, _ := c.LookupEnv(name)
		if v == "" {
			return nil, errkind.New(errkind.Invalid, "replica %s: the environment variable %s is not set", q.owner.Name, name)
		}
		values = append(values, v)
	}
	ctx := context.Background() // connections outlive the call
	switch q.owner.Provider {
	case "gcs":
		p := pubsub.Config{Subscription: q.url, Limits: c.Limits}
		if len(values) == 1 {
			p.CredentialsFile = values[0]
		}
		return pubsub.New(ctx, p) //nolint:wrapcheck // names the subscription
	case "azblob":
		a := azqueue.Config{URL: q.url, Account: q.owner.Account, Limits: c.Limits}
		if len(values) == 1 {
			a.AccountKey = values[0]
		}
		return azqueue.New(a) //nolint:wrapcheck // names the queue
	}
	s := sqs.Config{URL: q.url, Region: q.owner.Region, Limits: c.Limits}
	if len(values) == 2 {
		s.AccessKeyID, s.SecretAccessKey = values[0], values[1]
	}
	return sqs.New(ctx, s) //nolint:wrapcheck // names the queue
}

// decoder makes changes of the queue's messages, for all buckets of its store.
func (q named) decoder(c Config) func(queue.Message) normalize.Message {
	switch q.owner.Provider {
	case "gcs":
		resolve := gcs.ResolveIn(gcs.StoreOf(q.owner), stores(q.all, gcs.StoreOf))
		return func(m queue.Message) normalize.Message {
			return gcs.Decode(resolve, gcs.PubSubMessage{Attributes: m.Attributes, Data: m.Body, MessageID: m.ID})
		}
	case "azblob":
		account := azure.AccountOf(azure.StoreOf(q.owner), stores(q.all, azure.StoreOf))
		return func(m queue.Message) normalize.Message { return azure.DecodeQueueMessage(m.Body, account) }
	}
	resolve := s3.ResolveIn(s3.StoreOf(q.owner), stores(q.all, s3.StoreOf))
	return func(m queue.Message) normalize.Message { return s3.DecodeQueued(m.Body, c.Topics, resolve) }
}

func stores[S any](replicas []config.Replica, of func(config.Replica) S) []S {
	out := make([]S, 0, len(replicas))
	for _, r := range replicas {
		out = append(out, of(r))
	}
	return out
}
