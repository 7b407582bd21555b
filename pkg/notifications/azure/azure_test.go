package azure_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/azure"
)

const (
	thumbnails = `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"https://other.example.com/hook?code=their-secret"}},
		"filter":{"subjectBeginsWith":"/blobServices/default/containers/media/","includedEventTypes":["Microsoft.Storage.BlobCreated"]},
		"eventDeliverySchema":"EventGridSchema","retryPolicy":{"maxDeliveryAttempts":3,"eventTimeToLiveInMinutes":60}}`
	sameTarget = `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"` + webhook + `?token=x"}},
		"filter":{"subjectBeginsWith":"/blobServices/default/containers/media/blobs/"},"eventDeliverySchema":"CloudEventSchemaV1_0"}`
)

func plan(t *testing.T, c *azure.Container, goal notifications.Goal) notifications.Plan {
	t.Helper()
	p, err := c.Plan(t.Context(), goal)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret+value") || strings.Contains(string(text), "their-secret") {
		t.Errorf("a plan tells a secret: %s", text)
	}
	return p
}

func apply(t *testing.T, c *azure.Container, goal notifications.Goal) {
	t.Helper()
	if err := c.Apply(t.Context(), goal); err != nil {
		t.Fatal(err)
	}
	if p := plan(t, c, goal); !p.Settled() {
		t.Fatalf("not settled after it was applied: %+v", p.Entries)
	}
}

func ours(t *testing.T, p notifications.Plan) notifications.Entry {
	t.Helper()
	i := slices.IndexFunc(p.Entries, func(e notifications.Entry) bool { return e.Name == ourID })
	if i < 0 {
		t.Fatalf("ours is not in %+v", p.Entries)
	}
	return p.Entries[i]
}

func fields(e notifications.Entry) string {
	var out []string
	for _, d := range e.Differences {
		out = append(out, d.Field)
	}
	return strings.Join(out, ", ")
}

func TestTrapForeignSubscriptionsAreKept(t *testing.T) {
	a := newARM(t)
	a.set(t, "thumbnails", thumbnails)
	a.set(t, "by-hand", sameTarget)
	before := a.state(t)
	c := a.open(t)
	p := plan(t, c, notifications.Install)
	if len(p.Entries) != 3 || ours(t, p).State != notifications.Missing {
		t.Errorf("plan: %+v", p.Entries)
	}
	if !slices.ContainsFunc(p.Findings, func(f notifications.Finding) bool {
		return f.Level == notifications.Warning && strings.Contains(f.About, "by-hand") && strings.Contains(f.Text, "comes twice")
	}) {
		t.Errorf("nothing says that each change comes twice: %+v", p.Findings)
	}
	if got := a.state(t); got != before {
		t.Fatalf("a plan changed the account: %s", got)
	}
	apply(t, c, notifications.Install)
	apply(t, c, notifications.Remove)
	if got := a.state(t); got != before || a.puts != 1 || a.deletes != 1 {
		t.Errorf("after install and remove: %s\nbefore: %s\n%d puts, %d deletes", got, before, a.puts, a.deletes)
	}
}

func TestTwiceIsOnce(t *testing.T) {
	a := newARM(t)
	var waited []string
	c := a.open(t, func(c *azure.Config) { c.OnProgress = func(s string) { waited = append(waited, s) } })
	apply(t, c, notifications.Install)
	before := a.of(t, ourID)
	for _, want := range []string{
		`"endpointUrl":"` + webhook + `?token=top%2Fsecret%2Bvalue"`, `"subjectBeginsWith":"/blobServices/default/containers/media/blobs/docs/"`,
		`"isSubjectCaseSensitive":true`, `"eventDeliverySchema":"CloudEventSchemaV1_0"`, `"maxDeliveryAttempts":30`, `"eventTimeToLiveInMinutes":1440`,
		`"Microsoft.Storage.BlobCreated","Microsoft.Storage.BlobDeleted","Microsoft.Storage.BlobRenamed","Microsoft.Storage.DirectoryDeleted","Microsoft.Storage.DirectoryRenamed"`,
	} {
		if !strings.Contains(before, want) {
			t.Errorf("%s is not in %s", want, before)
		}
	}
	if len(waited) == 0 || !strings.Contains(waited[0], ourID) {
		t.Errorf("progress: %q", waited)
	}
	apply(t, c, notifications.Install)
	if got := a.of(t, ourID); got != before || a.puts != 1 {
		t.Errorf("the second install left %s, the first %s; %d puts", got, before, a.puts)
	}
	if e := ours(t, plan(t, c, notifications.Install)); e.State != notifications.Present || e.Target != webhook {
		t.Errorf("ours: %+v", e)
	}
	apply(t, c, notifications.Remove)
	apply(t, c, notifications.Remove)
	if a.deletes != 1 {
		t.Errorf("%d deletes, want one", a.deletes)
	}
}

// TestTrapWhatAnOperatorSetIsKept: Event Grid replaces the whole subscription.
func TestTrapWhatAnOperatorSetIsKept(t *testing.T) {
	a := newARM(t)
	a.set(t, ourID, `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"`+webhook+`?token=older","maxEventsPerBatch":10,
			"preferredBatchSizeInKilobytes":2048,
			"deliveryAttributeMappings":[{"name":"X-Team","type":"Static","properties":{"value":"operators-secret","isSecret":true}}]}},
		"filter":{"subjectBeginsWith":"/blobServices/default/containers/media/blobs/","subjectEndsWith":".txt",
			"advancedFilters":[{"operatorType":"NumberGreaterThan","key":"data.contentLength","value":1}]},
		"labels":["paid by media"],"expirationTimeUtc":"2031-01-02T03:04:05Z",
		"deadLetterDestination":{"endpointType":"StorageBlob","properties":{"resourceId":"/sa","blobContainerName":"dead"}},
		"eventDeliverySchema":"EventGridSchema"}`)
	c := a.open(t)
	p := plan(t, c, notifications.Install)
	if got, want := fields(ours(t, p)), "secret in the URL, events, subject begins with, subject is case sensitive, schema, retries"; got != want {
		t.Errorf("differences: %s, want %s", got, want)
	}
	if len(p.Findings) != 4 { // filters, expiration, batches; and that a prefix does not see renames
		t.Errorf("findings: %+v", p.Findings)
	}
	apply(t, c, notifications.Install)
	got := a.of(t, ourID)
	for _, want := range []string{
		`"maxEventsPerBatch":10`, `"preferredBatchSizeInKilobytes":2048`, `"operators-secret"`, `"subjectEndsWith":".txt"`, `"NumberGreaterThan"`,
		`"paid by media"`, `"2031-01-02T03:04:05Z"`, `"blobContainerName":"dead"`, `secret%2Bvalue`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

func TestTrapWhatIsNotKnownIsNotLost(t *testing.T) {
	for what, part := range map[string]string{
		"an advanced filter FuzzyMatch":  `"filter":{"advancedFilters":[{"operatorType":"FuzzyMatch","key":"k","value":"v"}]}`,
		"a dead-letter destination Moon": `"deadLetterDestination":{"endpointType":"Moon","properties":{"crater":"x"}}`,
	} {
		a := newARM(t)
		a.set(t, ourID, `{"destination":{"endpointType":"WebHook","properties":{"endpointUrl":"`+webhook+`"}},`+part+`}`)
		before := a.state(t)
		err := a.open(t).Apply(t.Context(), notifications.Install)
		if !errkind.Is(err, errkind.Unsupported) || !strings.Contains(err.Error(), what) || a.state(t) != before {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestDestinationWithAnIdentityKeepsIt(t *testing.T) {
	a := newARM(t)
	a.set(t, ourID, `{"deliveryWithResourceIdentity":{"identity":{"type":"SystemAssigned"},
		"destination":{"endpointType":"StorageQueue","properties":{"resourceId":"/elsewhere","queueName":"q","queueMessageTimeToLiveInSeconds":-1}}}}`)
	apply(t, a.open(t, func(c *azure.Config) { c.Replica.Notifications.Target = queue }), notifications.Install)
	got := a.of(t, ourID)
	for _, want := range []string{`"SystemAssigned"`, `"queueName":"changes"`, `"queueMessageTimeToLiveInSeconds":-1`, `"resourceId":"` + account + `"`} {
		if !strings.Contains(got, want) || strings.Contains(got, `"destination":null`) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

func TestStorageQueue(t *testing.T) {
	a := newARM(t)
	toQueue := func(pull string) func(*azure.Config) {
		return func(c *azure.Config) {
			c.Tokens = nil // a queue needs no secret
			c.Replica.Notifications.Target, c.Replica.Notifications.Pull = queue, pull
		}
	}
	c := a.open(t, toQueue("https://mediaaz.queue.core.windows.net/changes"))
	apply(t, c, notifications.Install)
	if got := a.of(t, ourID); !strings.Contains(got, `"StorageQueue"`) || !strings.Contains(got, `"queueName":"changes"`) {
		t.Errorf("installed %s", got)
	}
	apply(t, a.open(t, toQueue("http://127.0.0.1:10001/mediaaz/changes")), notifications.Install) // an emulator
	if a.puts != 1 {
		t.Errorf("%d puts, want one", a.puts)
	}
	// From a queue to a webhook, ours changes in its place.
	apply(t, a.open(t), notifications.Install)
	if got := a.of(t, ourID); strings.Contains(got, "StorageQueue") || !strings.Contains(got, webhook) {
		t.Errorf("installed %s", got)
	}
}

func TestTrapOtherQueueThanTheOneThatIsPulledIsRefused(t *testing.T) {
	a := newARM(t)
	for target, pull := range map[string]string{
		queue:   "https://mediaaz.queue.core.windows.net/other?sig=top/secret+value",
		webhook: "https://mediaaz.queue.core.windows.net/changes",
	} {
		c := a.open(t, func(c *azure.Config) { c.Replica.Notifications.Target, c.Replica.Notifications.Pull = target, pull })
		f, refused := plan(t, c, notifications.Install).Refusal()
		if !refused || f.About != "notifications.pull" {
			t.Errorf("%s: %v", target, f)
		}
		if err := c.Apply(t.Context(), notifications.Install); !errkind.Is(err, errkind.Invalid) || a.puts != 0 {
			t.Errorf("%s: %v, %d puts", target, err, a.puts)
		}
	}
}

func TestEntraInsteadOfASecret(t *testing.T) {
	a := newARM(t)
	apply(t, a.open(t), notifications.Install)
	c := a.open(t, func(c *azure.Config) { c.EntraTenant, c.EntraAudience = "tenant-1", "api://mesh" })
	if got := fields(ours(t, plan(t, c, notifications.Install))); got != "Entra tenant, Entra audience, secret in the URL" {
		t.Errorf("differences: %s", got)
	}
	apply(t, c, notifications.Install)
	got := a.of(t, ourID)
	if strings.Contains(got, "token=") || !strings.Contains(got, `"azureActiveDirectoryTenantId":"tenant-1"`) || !strings.Contains(got, `"azureActiveDirectoryApplicationIdOrUri":"api://mesh"`) {
		t.Errorf("installed %s", got)
	}
	apply(t, a.open(t), notifications.Install)
	if got := a.of(t, ourID); strings.Contains(got, "tenant-1") {
		t.Errorf("installed %s", got)
	}
}

// TestTrapSecretIsInNoError: Azure quotes the webhook's whole URL.
func TestTrapSecretIsInNoError(t *testing.T) {
	a := newARM(t)
	a.outcome = `{"status":"Failed","error":{"code":"Url validation","message":"Webhook validation handshake failed for ` + webhook +
		`?token=top%2Fsecret%2Bvalue (top/secret+value). Http POST request failed with response status code Unknown."}}`
	err := a.open(t).Apply(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), "must be up") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v (%s)", err, errkind.Of(err))
	}
	for e := err; e != nil; {
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		if e = u.Unwrap(); e != nil && strings.Contains(e.Error(), "secret") {
			t.Errorf("a cause tells it: %v", e)
		}
	}
}

func TestOperationThatDoesNotEnd(t *testing.T) {
	a := newARM(t)
	a.polls = 1 << 30
	err := a.open(t, func(c *azure.Config) { c.OperationTimeout = 50 * time.Millisecond }).Apply(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.Unavailable) {
		t.Errorf("got %v (%s)", err, errkind.Of(err))
	}
}

func TestMissingPermissionsAreNamed(t *testing.T) {
	a := newARM(t)
	a.deny = "/eventSubscriptions"
	_, err := a.open(t).Plan(t.Context(), notifications.Install)
	if !errkind.Is(err, errkind.PermissionDenied) || !strings.Contains(err.Error(), "Microsoft.EventGrid/eventSubscriptions/read") {
		t.Errorf("list: %v (%s)", err, errkind.Of(err))
	}
	// Who may not ask for the URL can do everything else.
	a.deny = "/getFullUrl"
	apply(t, a.open(t), notifications.Install)
	p := plan(t, a.open(t), notifications.Install)
	if !slices.ContainsFunc(p.Findings, func(f notifications.Finding) bool {
		return f.Level == notifications.Warning && strings.Contains(f.Mend, "getFullUrl/action")
	}) {
		t.Errorf("findings: %+v", p.Findings)
	}
}

func TestDocumentsThatCanNotWork(t *testing.T) {
	a := newARM(t)
	for name, c := range map[string]struct {
		change func(*azure.Config)
		says   string
	}{
		"no scope": {func(c *azure.Config) { c.Replica.Notifications.Scope = "" }, "notifications.scope"},
		"scope of a vault": {func(c *azure.Config) {
			c.Replica.Notifications.Scope = "/subscriptions/1/resourceGroups/r/providers/Microsoft.KeyVault/vaults/mediaaz"
		}, "not a storage account"},
		"scope of another":  {func(c *azure.Config) { c.Replica.Account = "other" }, "not the storage account other"},
		"http":              {func(c *azure.Config) { c.Replica.Notifications.Target = "http://mesh.example.com/azure/az" }, "https"},
		"secret in the URL": {func(c *azure.Config) { c.Replica.Notifications.Target = webhook + "?token=" + secret }, "without: the secret is taken from the environment"},
		"no secret":         {func(c *azure.Config) { c.Tokens = nil }, "BUCKETMESH_WEBHOOK_TOKENS"},
		"half of Entra":     {func(c *azure.Config) { c.EntraTenant = "t" }, "BUCKETMESH_ENTRA_AUDIENCE"},
	} {
		cfg := a.config()
		c.change(&cfg)
		_, err := azure.Open(t.Context(), cfg)
		if !errkind.Is(err, errkind.Invalid) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
