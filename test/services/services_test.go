// Package services_test runs the services as a cluster would: each in a process of its own, with events between them over
// HTTP, and PostgreSQL under them.
package services_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

func TestServicesOverHTTPAndPostgres(t *testing.T) {
	dsn := pgtest.Schema(t)
	b := newHub(t)
	c := cluster.New(t, cluster.Options{Token: "secret-word"}, "a", "b")
	settings := append(cluster.Environment(), env.Config+"="+written(t, c.Document), env.State+"="+dsn, env.Broker+"="+b.url, env.Tokens+"=other,secret-word")
	b.subscribers(t, settings)
	launch(t, "normalizer-s3", c.Listen, settings...)

	c.Sites["a"].Put("k", "1")
	c.Everywhere("k", "1")
	c.Sites["b"].Put("k", "2")
	c.Everywhere("k", "2")
	c.Sites["a"].Delete("k")
	c.Everywhere("k", "")

	store := openStore(t, dsn)
	b.idle(t, store)
	if s, err := b.Status(t.Context()); err != nil || s.DeadLetters != 0 {
		t.Errorf("%d dead letters, %v", s.DeadLetters, err)
	}

	// Two write at once: the resolver is a process of its own.
	c.Sites["a"].Put("clash", "from a")
	c.Sites["b"].Put("clash", "from b")
	cluster.Eventually(t, "both sites hold the same, and nothing was lost", func() bool {
		ca, cb := c.Sites["a"].Contents(), c.Sites["b"].Contents()
		if len(ca) != len(cb) || len(ca) == 0 {
			return false
		}
		found := map[string]bool{}
		for key, content := range ca {
			if cb[key] != content {
				return false
			}
			found[content] = true
		}
		// Either the two were concurrent, and both are kept, or one was already everywhere when the other was written.
		return found["from b"] && (found["from a"] || len(ca) == 1)
	})
	b.idle(t, store)

	// A timer's event makes the service sync bring together what it was not told of.
	request, err := event.NewScan("", event.Scan{Group: "test", What: "backfill"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	b.idle(t, store)
	head, err := audit.Verify(t.Context(), store.Audit(), audit.VerifyOptions{})
	if err != nil || head.Seq < 10 {
		t.Errorf("audit log of %d entries: %v", head.Seq, err)
	}
	entries, err := store.Audit().Range(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.Type] = true
	}
	for _, typ := range []string{event.ObjectWritten, event.ObjectDeleted, event.SyncApplied, event.ScanRequested} {
		if !seen[typ] {
			t.Errorf("the audit log has no %s", typ)
		}
	}
}

// A service says what it lacks, and ends.
func TestServicesRefuseToStart(t *testing.T) {
	g := written(t, "kind: "+config.Kind+"\n")
	good := written(t, "apiVersion: bucketmesh.dev/v1alpha1\nkind: "+config.Kind+"\nmetadata: {name: test}\nspec:\n  replicas:\n"+
		"  - {name: s3, url: \"s3://media?region=eu-central-1\"}\n  - {name: gcs, url: \"gs://media\"}\n  - {name: azure, url: \"azblob://media/media\"}\n")
	withBroker := []string{env.Config + "=" + good, env.Broker + "=http://127.0.0.1:1"}
	for _, c := range []struct {
		service, says string
		environment   []string
	}{
		{"sync", env.Config, nil},
		{"conflict-resolver", env.Config, nil},
		{"normalizer-s3", env.Config, nil},
		{"normalizer-gcs", env.Config, nil},
		{"normalizer-azure", env.Config, nil},
		{"puller", env.Config, nil},
		{"audit", env.State, nil},
		{"dead-letters", env.Config, nil},
		{"dead-letters", env.State, withBroker},
		{"normalizer-s3", env.Broker, []string{env.Config + "=" + good}},
		{"normalizer-gcs", env.Broker, []string{env.Config + "=" + good}},
		{"normalizer-azure", env.Broker, []string{env.Config + "=" + good}},
		{"puller", env.Broker, []string{env.Config + "=" + good}},
		{"normalizer-s3", env.Tokens, withBroker},
		{"normalizer-gcs", env.PushAudience, withBroker},
		{"normalizer-azure", env.EntraTenant, withBroker},
		{"normalizer-gcs", env.PushAccounts, append(slices.Clone(withBroker), env.PushAudience+"=a")},
		{"normalizer-azure", env.EntraAudience, append(slices.Clone(withBroker), env.EntraTenant+"="+entraTenant)},
		{"puller", "notifications.pull", withBroker},
		{"sync", env.State, withBroker},
		{"conflict-resolver", env.State, withBroker},
		{"sync", "apiVersion", []string{env.Config + "=" + g}},
		{"normalizer-s3", "apiVersion", []string{env.Config + "=" + g}},
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, c.service))
		cmd.Env = append([]string{"PORT=0"}, c.environment...)
		out, err := cmd.CombinedOutput()
		if exit := (&exec.ExitError{}); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), c.says) {
			t.Errorf("%s with %v: %v, must say %s:\n%s", c.service, c.environment, err, c.says, out)
		}
	}
}
