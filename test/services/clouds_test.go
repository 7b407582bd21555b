package services_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc/oidctest"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres"
	"github.com/bucketmesh/bucketmesh/pkg/state/postgres/pgtest"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

const (
	minioToken  = "secret-word"
	entraTenant = "72f988bf-0000-4000-8000-2d7cd011db47"
	entraApp    = "api://bucketmesh-webhook"
)

// clouds is a group with a replica at each provider, named s3, gcs and azure as the providers are in events, and all
// services in processes of their own.
type clouds struct {
	hub      *hub
	store    *postgres.Store
	minio    *cluster.Cluster
	sites    map[string]site
	settings []string // of the services
}

// newClouds starts MinIO and launches what handles events. pull are the queues of the replicas that have one.
func newClouds(t *testing.T, g *gcsSite, a *azureSite, pull map[string]string) *clouds {
	t.Helper()
	var others strings.Builder
	for name, url := range map[string]string{
		"gcs":   "gs://" + g.name + "?endpoint=" + g.endpoint,
		"azure": "azblob://" + a.account + "/" + a.name + "?endpoint=" + a.endpoint + "&credentials=AZURE",
	} {
		fmt.Fprintf(&others, "  - {name: %s, url: %q, notifications: {pull: %q}}\n", name, url, pull[name])
	}
	// MinIO keeps the notifications that could not be delivered.
	minio := cluster.New(t, cluster.Options{Token: minioToken, QueueDir: true, Others: others.String()}, "s3")
	dsn := pgtest.Schema(t)
	c := &clouds{
		hub: newHub(t), store: openStore(t, dsn), minio: minio,
		sites: map[string]site{"s3": minio.Sites["s3"], "gcs": g, "azure": a},
	}
	c.settings = append(cluster.Environment(), env.Config+"="+written(t, minio.Document), env.State+"="+dsn, env.Broker+"="+c.hub.url,
		"BUCKETMESH_AZURE_ACCOUNT_KEY="+variable(t, "BUCKETMESH_TEST_AZURE_KEY"))
	c.hub.subscribers(t, c.settings)
	return c
}

// launch runs a service with the settings of all and some more.
func (c *clouds) launch(t *testing.T, service, listen string, more ...string) (url string) {
	t.Helper()
	return launch(t, service, listen, append(slices.Clone(c.settings), more...)...)
}

// everywhere waits until all sites hold the same, which is good.
func (c *clouds) everywhere(t *testing.T, what string, good func(contents map[string]string) bool) {
	t.Helper()
	var last []map[string]string
	defer func() {
		if t.Failed() {
			t.Logf("s3, gcs, azure: %q", last)
			c.tell(t)
		}
	}()
	cluster.Eventually(t, what+" at all clouds", func() bool {
		last = []map[string]string{c.sites["s3"].Contents(), c.sites["gcs"].Contents(), c.sites["azure"].Contents()}
		return good(last[0]) && reflect.DeepEqual(last[0], last[1]) && reflect.DeepEqual(last[0], last[2])
	})
}

// tell logs what became of the events, and what is still to be done.
func (c *clouds) tell(t *testing.T) {
	t.Helper()
	entries, err := c.store.Audit().Range(t.Context(), 0, 0)
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		t.Logf("%s %s", e.Recorded.Format(time.StampMicro), e.JSON)
	}
	stats, err := c.store.Stats(t.Context(), "test")
	status, serr := c.hub.Status(t.Context())
	due, waits, derr := c.store.NextDue(t.Context(), "test")
	t.Logf("state %+v (%v), broker %+v (%v), next due %v %s (%v)", stats, err, status, serr, waits, due, derr)
}

// writesAndDeletes: what is written at a cloud comes to the two others, and so does its delete, at a third one.
func (c *clouds) writesAndDeletes(t *testing.T) {
	t.Helper()
	next := map[string]string{"s3": "gcs", "gcs": "azure", "azure": "s3"}
	for name, s := range c.sites {
		s.Put("written at "+name, "by "+name)
	}
	c.everywhere(t, "what each wrote is", func(contents map[string]string) bool {
		return contents["written at s3"] == "by s3" && contents["written at gcs"] == "by gcs" && contents["written at azure"] == "by azure"
	})
	for name, s := range c.sites {
		s.Put("written at "+next[name], "replaced by "+name)
	}
	c.everywhere(t, "what another overwrote is", func(contents map[string]string) bool {
		return contents["written at s3"] == "replaced by azure" && contents["written at gcs"] == "replaced by s3" &&
			contents["written at azure"] == "replaced by gcs"
	})
	for name, s := range c.sites {
		s.Delete("written at " + name)
	}
	c.everywhere(t, "nothing is", func(contents map[string]string) bool { return len(contents) == 0 })
	c.hub.idle(t, c.store)
}

// outage: while the broker takes nothing, each cloud writes a key of its own, and all of them the same one: a conflict, since
// nobody can know of the others. meanwhile is what else must have been seen before the broker is back.
func (c *clouds) outage(t *testing.T, meanwhile func()) {
	t.Helper()
	c.hub.setDown(true)
	for name, s := range c.sites {
		s.Put("in the outage at "+name, "by "+name)
		s.Put("clash", "from "+name)
	}
	for name := range c.sites {
		cluster.Eventually(t, "an event of "+name+" was refused", func() bool { return c.hub.refusedFrom(name) })
	}
	meanwhile()
	c.hub.setDown(false)
	c.everywhere(t, "one winner and its losers are", func(contents map[string]string) bool {
		found := map[string]bool{}
		for _, content := range contents {
			found[content] = true
		}
		return found["from s3"] && found["from gcs"] && found["from azure"] && strings.HasPrefix(contents["clash"], "from ") &&
			contents["in the outage at s3"] == "by s3" && contents["in the outage at gcs"] == "by gcs" && contents["in the outage at azure"] == "by azure"
	})
	c.hub.idle(t, c.store)
}

// recorded checks that the audit log is whole and has what happened, and nothing that was forged.
func (c *clouds) recorded(t *testing.T) {
	t.Helper()
	if s, err := c.hub.Status(t.Context()); err != nil || s.DeadLetters != 0 {
		t.Errorf("%d dead letters, %v", s.DeadLetters, err)
	}
	log := c.store.Audit()
	if _, err := audit.Verify(t.Context(), log, audit.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for after := int64(0); ; {
		entries, err := log.Range(t.Context(), after, 0)
		must(t, err)
		if len(entries) == 0 {
			break
		}
		for _, entry := range entries {
			var e cloudevents.Event
			must(t, json.Unmarshal(entry.JSON, &e))
			provider, _ := e.Extensions()[event.ExtProvider].(string)
			seen[strings.TrimSpace(entry.Type+" "+provider)] = true
			if strings.Contains(e.Subject(), "forged") {
				t.Errorf("a forged event: %s", entry.JSON)
			}
			after = entry.Seq
		}
	}
	want := []string{
		event.SyncApplied, event.ConflictDetected, event.ConflictResolved,
		event.ObjectWritten + " s3", event.ObjectWritten + " gcs", event.ObjectWritten + " azure", event.ObjectDeleted + " s3",
		event.ObjectVersionDeleted + " gcs", // all that Cloud Storage tells of a delete in a bucket without versions
		event.ObjectDeleted + " azure",
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("the audit log has no %s: %v", w, seen)
		}
	}
}

// proofs are what Google and Entra prove themselves with.
type proofs struct{ google, entra string }

func prove(t *testing.T, google, entra *oidctest.Issuer) proofs {
	t.Helper()
	now := entra.Now()
	return proofs{google: google.With(t, nil), entra: entra.Sign(t, oidctest.KeyID, map[string]any{
		"iss": "https://sts.windows.net/" + entraTenant + "/", "aud": entraApp, "appid": azure.EventGridApp, "tid": entraTenant,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})}
}

// newIssuer is one that has the time of the services.
func newIssuer(t *testing.T) *oidctest.Issuer {
	t.Helper()
	i := oidctest.New(t)
	i.Advance(time.Since(i.Now()))
	return i
}

// TestServicesAtThreeClouds: MinIO, Pub/Sub and Event Grid post to the normalizer of their cloud.
func TestServicesAtThreeClouds(t *testing.T) {
	google, entra, nobody := newIssuer(t), newIssuer(t), newIssuer(t)
	doors := map[string]*door{"gcs": newDoor(t, ""), "azure": newDoor(t, "")}
	grid := newEventGrid(t, doors["azure"].url+"/azure/azure")
	g := newGCSSite(t)
	c := newClouds(t, g, newAzureSite(t, grid.Publish), nil)
	doors["s3"] = newDoor(t, c.minio.Listen)
	proof := prove(t, google, entra)
	doors["s3"].open(t, c.launch(t, "normalizer-s3", "", env.Tokens+"="+minioToken), nil)
	doors["gcs"].open(t, c.launch(t, "normalizer-gcs", "",
		env.PushAudience+"="+oidctest.Audience, env.PushAccounts+"="+oidctest.Account, env.PushKeys+"="+google.URL), nil)
	doors["azure"].open(t, c.launch(t, "normalizer-azure", "",
		env.EntraTenant+"="+entraTenant, env.EntraAudience+"="+entraApp, env.EntraKeys+"="+entra.URL),
		http.Header{"Authorization": {proof.entra}}) // as Event Grid shows it where Entra is set up; the stand-in has no tokens
	must(t, grid.Validate(t.Context()))
	push(t, newSubscription(t, g.name), doors["gcs"].url+"/gcs/gcs", proof.google)

	c.writesAndDeletes(t)

	c.outage(t, func() {
		for name, d := range doors {
			d.until(t, "the normalizer of "+name+" answers 503", http.StatusServiceUnavailable)
		}
	})

	forged := prove(t, nobody, nobody)
	change := strings.NewReplacer("clash", "forged", "outage", "forged", "written", "forged")
	for name, wrong := range map[string]string{"s3": "Bearer of-somebody", "gcs": forged.google, "azure": forged.entra} {
		for _, shows := range []string{"", wrong} {
			if status := doors[name].forge(t, "/"+name+"/"+name, change, shows); status != http.StatusUnauthorized {
				t.Errorf("%s: a forged message with the proof %.20q: status %d", name, shows, status)
			}
		}
	}
	if stats := grid.Stats(); stats.Lost > 0 || stats.Retried == 0 {
		t.Errorf("events of Azure: %+v", stats)
	}
	c.recorded(t)
}

// TestServicesWithQueuesAtTwoClouds: the puller takes what the queues of Google and Azure hold; MinIO posts.
func TestServicesWithQueuesAtTwoClouds(t *testing.T) {
	queue, put := newQueue(t)
	g := newGCSSite(t)
	subscription := newSubscription(t, g.name)
	c := newClouds(t, g, newAzureSite(t, put), map[string]string{"gcs": subscription.String(), "azure": queue})
	c.launch(t, "normalizer-s3", c.minio.Listen, env.Tokens+"="+minioToken)
	c.launch(t, "puller", "", "PUBSUB_EMULATOR_HOST="+variable(t, "BUCKETMESH_TEST_PUBSUB"))

	c.writesAndDeletes(t)
	c.outage(t, func() {})
	c.recorded(t)
}
