package conformance_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	google "cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
	"github.com/bucketmesh/bucketmesh/pkg/event"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
	"github.com/bucketmesh/bucketmesh/test/cluster"
)

// The replicas of a fleet.
const (
	minio     = "minio"
	minioB    = "minio-b"
	versitygw = "versitygw"
)

// fleet is one pipeline over a replica of each kind. Every change is told as its provider tells it: webhooks of MinIO and of
// versitygw, Pub/Sub for GCS, Event Grid for Azure.
type fleet struct {
	*pipeline.Pipeline
	sites map[string]place // keys are below the prefix

	mu   sync.Mutex
	told map[string]int // changes of objects, by replica and key
}

// fleetOptions of newFleet.
type fleetOptions struct {
	azurePrefix string // without the last slash
	versitygw   bool
}

func newFleet(t *testing.T, o fleetOptions) *fleet {
	t.Helper()
	f := &fleet{sites: map[string]place{}, told: map[string]int{}}
	// The port may have been another test's, whose servers still post to it: they have another token.
	token := rand.Text()
	c := cluster.New(t, cluster.Options{Token: token}, minio, minioB)
	keys := [2]string{}
	for i, name := range []string{"BUCKETMESH_TEST_ACCESS_KEY_ID", "BUCKETMESH_TEST_SECRET_ACCESS_KEY"} {
		keys[i], _ = cluster.LookupEnv(name)
	}
	var doc strings.Builder
	doc.WriteString("apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata: {name: fleet}\nspec:\n  replicas:\n")
	for _, r := range c.Group.Replicas {
		f.sites[r.Name] = place{r.Name, s3UserAt(r.Endpoint, "minio", keys[0], keys[1]), r.Bucket}
		fmt.Fprintf(&doc, "  - {name: %s, url: %q}\n", r.Name, r.URL)
	}
	if o.versitygw {
		u := startVersitygw(t, c.Listen, token)
		f.add(t, &doc, versitygw, u, "")
	}
	f.addGCS(t, &doc)
	grid := emulator.NewEventGrid(emulator.EventGridConfig{Webhook: "http://" + c.Listen + "/azure/" + azureCloud + "?token=" + token, Account: env(t, "BUCKETMESH_TEST_AZURE_ACCOUNT")})
	t.Cleanup(grid.Close)
	gate, err := emulator.NewAzure(env(t, "BUCKETMESH_TEST_AZURE_BLOB"), env(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"), env(t, "BUCKETMESH_TEST_AZURE_KEY"), grid.Publish)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, stop, err := emulator.Serve(t.Context(), "127.0.0.1:0", gate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	f.add(t, &doc, azureCloud, newAzureUser(t, endpoint), o.azurePrefix)

	group, err := config.Load([]byte(doc.String()), config.Options{Providers: worker.AllOpeners().Providers()})
	if err != nil {
		t.Fatal(err)
	}
	f.Pipeline, err = pipeline.Start(t.Context(), pipeline.Options{
		Group: group, DataDir: t.TempDir(), Listen: c.Listen, Tokens: []string{token}, Probe: object.ProbeOptions{Writers: 2, Rounds: 1},
		LookupEnv: func(name string) (string, bool) {
			if v, ok := cluster.LookupEnv(name); ok {
				return v, ok
			}
			return lookupEnv(name)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	t.Cleanup(f.Watch(f.hear))
	return f
}

// add adds a replica at a bucket of its own.
func (f *fleet) add(t *testing.T, doc *strings.Builder, name string, c cloud, prefix string) {
	t.Helper()
	p := place{name, c, newBucket(t, c)}
	f.sites[name] = p
	url := c.url(p.bucket)
	if prefix != "" {
		url = strings.Replace(url, p.bucket, p.bucket+"/"+prefix, 1)
	}
	fmt.Fprintf(doc, "  - {name: %s, url: %q}\n", name, url)
}

// addGCS adds a replica whose changes are in a subscription of this test's own.
func (f *fleet) addGCS(t *testing.T, doc *strings.Builder) {
	t.Helper()
	topic := env(t, "BUCKETMESH_TEST_PUBSUB_TOPIC")
	t.Setenv("PUBSUB_EMULATOR_HOST", env(t, "BUCKETMESH_TEST_PUBSUB"))
	project := strings.Split(topic, "/")[1]
	admin, err := google.NewClient(t.Context(), project)
	if err != nil {
		t.Fatal(err)
	}
	sub := fmt.Sprintf("projects/%s/subscriptions/conformance-%d", project, time.Now().UnixNano())
	u := newGCSUser(t)
	p := place{gcsCloud, u, newBucket(t, u)}
	// All buckets of the server tell one topic, those of other packages' tests, too.
	filter := fmt.Sprintf("attributes.bucketId = %q", p.bucket)
	if _, err := admin.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: sub, Topic: topic, Filter: filter}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = admin.SubscriptionAdminClient.DeleteSubscription(context.WithoutCancel(t.Context()), &pubsubpb.DeleteSubscriptionRequest{Subscription: sub})
		_ = admin.Close()
	})
	f.sites[gcsCloud] = p
	fmt.Fprintf(doc, "  - {name: gcs, url: %q, notifications: {pull: %q}}\n", u.url(p.bucket), sub)
}

// startVersitygw starts a server whose webhook posts to an address where nobody listens yet. It sends a test event at its start,
// and gives up if nobody takes it.
func startVersitygw(t *testing.T, listen, token string) *s3User {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	taker := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = taker.Serve(l) // until it is closed
	}()
	address, dir := cluster.FreePort(t), t.TempDir()
	access, secret := env(t, "BUCKETMESH_TEST_S3_ACCESS_KEY"), env(t, "BUCKETMESH_TEST_S3_SECRET_KEY")
	// Not the test's context: it is canceled before the clean-up, which stops the server in its order.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), env(t, "BUCKETMESH_TEST_VERSITYGW_BIN"), "--port", address, "--quiet", "--health", "/_health",
		"--event-webhook-url", "http://fleet:"+token+"@"+listen+"/s3/"+versitygw, "posix", dir)
	cmd.Env = append(cmd.Environ(), "ROOT_ACCESS_KEY="+access, "ROOT_SECRET_KEY="+secret)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	cluster.Eventually(t, "versitygw is healthy", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/_health", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := new(http.Client).Do(r)
		if err != nil {
			return false
		}
		_ = res.Body.Close() // nothing is read of it
		return res.StatusCode == http.StatusOK
	})
	if err := taker.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	return s3UserAt("http://"+address, "versitygw", access, secret)
}

// hear counts what the normalizers tell.
func (f *fleet) hear(e cloudevents.Event) {
	if e.Type() != event.ObjectWritten {
		return
	}
	o, err := event.ObjectOf(e)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, p := range f.sites {
		if o.Bucket == p.bucket {
			f.told[name+" "+o.Key]++
		}
	}
}

func (f *fleet) heard(replica, key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told[replica+" "+key]
}

// contents are the keys at a replica, less bucketmesh's own.
func (f *fleet) contents(t *testing.T, replica string) map[string]string {
	t.Helper()
	p := f.sites[replica]
	all := map[string]string{}
	for key, version := range p.cloud.list(t, p.bucket) {
		if !strings.HasPrefix(key, config.ReservedPrefix) && !strings.Contains(key, "/"+config.ReservedPrefix) {
			all[key] = version
		}
	}
	return all
}
