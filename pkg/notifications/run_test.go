package notifications_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

func TestTrapIDsOfTwoPairsOfNamesDiffer(t *testing.T) {
	long := strings.Repeat("x", 63)
	seen := map[string]bool{}
	for _, c := range [][2]string{{"a", "b"}, {"a-b", "c"}, {"a", "b-c"}, {long, "a"}, {long, "b"}, {"a", long}, {long, long}, {"media", "eu-1"}} {
		id := notifications.ID(c[0], c[1])
		if seen[id] || len(id) > 64 || !strings.HasPrefix(id, "bucketmesh-") || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q: %s", c, id)
		}
		seen[id] = true
	}
	if id := notifications.ID("media", "eu"); id != "bucketmesh-media-eu" {
		t.Errorf("a simple one is %s", id)
	}
}

// bucket is a Provider that holds whether ours is there. The providers themselves are tested on servers.
type bucket struct {
	there, closed bool
	refused       bool
	fails         error
	opened        config.Replica
}

func (b *bucket) Plan(_ context.Context, goal notifications.Goal) (notifications.Plan, error) {
	e := notifications.Entry{Name: "ours", State: notifications.Present, Action: notifications.Keep}
	switch {
	case !b.there && goal == notifications.Install:
		e.State, e.Action = notifications.Missing, notifications.Add
	case b.there && goal == notifications.Remove:
		e.State, e.Action = notifications.Surplus, notifications.RemoveEntry
	}
	p := notifications.Plan{Entries: []notifications.Entry{e}}
	if b.refused {
		p.Findings = []notifications.Finding{{Level: notifications.Refused, About: "it", Text: "can't work"}}
	}
	return p, nil
}

func (b *bucket) Apply(_ context.Context, goal notifications.Goal) error {
	b.there = goal == notifications.Install
	return b.fails
}

func (b *bucket) Close() error { b.closed = true; return nil }

func run(t *testing.T, buckets map[string]*bucket, c notifications.Command, replicas ...config.Replica) []notifications.Outcome {
	t.Helper()
	open := func(_ context.Context, r config.Replica, _ string) (notifications.Provider, error) {
		b := buckets[r.Name]
		if b == nil {
			return nil, errkind.New(errkind.PermissionDenied, "find credentials: none")
		}
		b.opened = r
		return b, nil
	}
	out, err := notifications.Run(t.Context(), notifications.Options{
		Group:   &config.Group{Name: "media", Replicas: replicas},
		Openers: map[string]notifications.Opener{"s3": open},
	}, c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func replica(name string) config.Replica {
	return config.Replica{Name: name, Provider: "s3", Dialect: "aws", Notifications: config.Notifications{Target: "t", Pull: "p", Scope: "s"}}
}

func TestOneReplicaThatFailsDoesNotStopTheOthers(t *testing.T) {
	buckets := map[string]*bucket{"b": {}, "c": {fails: errors.New("no")}, "d": {refused: true}}
	out := run(t, buckets, notifications.Command{Goal: notifications.Install, Change: true}, replica("a"), replica("b"), replica("c"), replica("d"), config.Replica{Name: "e", Provider: "gcs"})
	want := []notifications.Status{notifications.Failed, notifications.Set, notifications.Failed, notifications.RefusedStatus, notifications.NotConfigured}
	for i, w := range want {
		if out[i].Status != w {
			t.Errorf("%s: %s, want %s (%s)", out[i].Replica, out[i].Status, w, out[i].Error)
		}
	}
	if !errkind.Is(out[0].Err, errkind.PermissionDenied) || !strings.Contains(out[0].Error, "replica a: ") {
		t.Errorf("%v", out[0].Err)
	}
	if buckets["d"].there {
		t.Error("what was refused was done")
	}
	for name, b := range buckets {
		if !b.closed {
			t.Errorf("%s was not closed", name)
		}
	}
}

func TestLookingChangesNothing(t *testing.T) {
	b := &bucket{}
	out := run(t, map[string]*bucket{"a": b}, notifications.Command{Goal: notifications.Install}, replica("a"))
	if b.there || out[0].Status != notifications.Lacking || len(out[0].Done) > 0 {
		t.Errorf("%+v", out)
	}
}

// TestTrapRemoveNeedsNoTarget: a target that can't work any more must not keep what was installed for it.
func TestTrapRemoveNeedsNoTarget(t *testing.T) {
	b := &bucket{there: true}
	out := run(t, map[string]*bucket{"a": b}, notifications.Command{Goal: notifications.Remove, Change: true}, replica("a"))
	if b.there || out[0].Status != notifications.Removed || len(out[0].Done) != 1 {
		t.Errorf("%+v", out)
	}
	if b.opened.Notifications != (config.Notifications{Scope: "s"}) {
		t.Errorf("it was opened with %+v", b.opened.Notifications)
	}
}

func TestReplicasThatNothingIsSetUpForSayTheMend(t *testing.T) {
	for mend, r := range map[string]config.Replica{
		"--event-webhook-url": {Provider: "s3", Dialect: "versitygw"},
		"mc admin info":       {Provider: "s3", Dialect: "minio"},
		"arn:aws:sns:default": {Provider: "s3", Dialect: "rgw"},
		"eventbridge":         {Provider: "s3", Dialect: "aws"},
		"projects/PROJECT":    {Provider: "gcs"},
		"az storage account":  {Provider: "azblob"},
	} {
		r.Name = "a"
		out := run(t, nil, notifications.Command{Goal: notifications.Install, Change: true}, r)
		if out[0].Status != notifications.NotConfigured || len(out[0].Findings) != 1 || !strings.Contains(out[0].Findings[0].Mend, mend) {
			t.Errorf("%s: %+v", mend, out)
		}
	}
}
