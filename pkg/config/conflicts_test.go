package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// TestLoadReadsConflicts: every policy has what it needs, defaults are filled in, and what it has no use for is zero.
func TestLoadReadsConflicts(t *testing.T) {
	got := load(t, string(read(t, "testdata/accepted/conflicts.yaml"))).Conflicts
	want := []config.ConflictRule{
		{Match: "a/1", Policy: config.Largest},
		{Match: "a/2", Policy: config.EditWins},
		{Match: "a/3", Policy: config.DeleteWins},
		{Match: "b/1", Policy: config.Quorum, Fallback: config.KeepBoth},
		{Match: "b/2", Policy: config.Quorum, Fallback: config.Primary, Order: []string{"asia", "us", "eu"}},
		{Match: "c/1", Policy: config.CEL, Expression: "head.kind == \"delete\" ? -1.0 :\n  head.replica == \"eu\" ? 2.0 * double(head.size) : double(head.size)\n"},
		{Match: "d/1", Policy: config.Merge, Fallback: config.KeepBoth, Format: config.FormatAuto, MaxSize: 4 << 20},
		{Match: "d/2", Policy: config.Merge, Fallback: config.Largest, Format: config.FormatNDJSON, MaxSize: 64 << 20},
		{Match: "e/1", Policy: config.Manual, Fallback: config.KeepBoth, Deadline: 72 * time.Hour},
		{Match: "e/2", Policy: config.Manual, Fallback: config.LastWriterWins, Deadline: 720 * time.Hour},
		{Match: "f/1", Policy: config.Webhook, Fallback: config.KeepBoth, Deadline: time.Minute, URL: "https://hooks.example.net:8443/verdict", Secret: "verdicts"},
		{Match: "f/2", Policy: config.Webhook, Fallback: config.EditWins, Deadline: time.Second, URL: "http://127.0.0.1:8080/verdict", Secret: "Verdicts-2"},
		{Match: "**", Policy: config.KeepBoth},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestExpressionsAreJudgedByTheProgram: one that evaluates none takes the document as it is.
func TestExpressionsAreJudgedByTheProgram(t *testing.T) {
	data := read(t, "testdata/refused/conflicts-expression-syntax/group.yaml")
	if g, err := config.Load(data, config.Options{}); err != nil || g.Conflicts[0].Expression == "" {
		t.Errorf("without a judge: %v", err)
	}
	asked := ""
	_, err := config.Load(data, config.Options{Expression: func(text string) error {
		asked = text
		return errkind.New(errkind.Invalid, "1:2: no")
	}})
	if !errkind.Is(err, errkind.Invalid) || asked != "head.size +" {
		t.Errorf("the judge was asked about %q, and the error is %v", asked, err)
	}
}

func TestSecretVariable(t *testing.T) {
	for secret, want := range map[string]string{"": "", "verdicts": "BUCKETMESH_VERDICTS_VERDICT_SECRET", "eu-1": "BUCKETMESH_EU_1_VERDICT_SECRET"} {
		if got := (config.ConflictRule{Secret: secret}).SecretVariable(); got != want {
			t.Errorf("%q: %q, want %q", secret, got, want)
		}
	}
}

// TestCheckWebhooks: only who settles conflicts needs the secrets of webhooks, and CheckEnvironment looks for everything.
func TestCheckWebhooks(t *testing.T) {
	group := load(t, groupOf(`{name: a, url: "s3://media?region=us-east-1&credentials=a"}`, `{name: b, url: "mem://media"}`)+
		"  conflicts:\n  - {match: x, policy: webhook, url: \"https://hooks.example.net\", secret: verdicts}\n")
	env := map[string]string{"BUCKETMESH_A_ACCESS_KEY_ID": secret, "BUCKETMESH_A_SECRET_ACCESS_KEY": secret}
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	const want = "check environment: spec.conflicts[0].secret: needs the environment variable BUCKETMESH_VERDICTS_VERDICT_SECRET, " +
		"which is not set; set it, from a secret store or a Kubernetes secret"
	for name, check := range map[string]func(*config.Group, func(string) (string, bool)) error{
		"webhooks": config.CheckWebhooks, "environment": config.CheckEnvironment,
	} {
		if err := check(group, lookup); !errkind.Is(err, errkind.Invalid) || err.Error() != want {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := config.CheckCredentials(group, lookup); err != nil {
		t.Errorf("credentials: %v", err)
	}
	env = map[string]string{"BUCKETMESH_VERDICTS_VERDICT_SECRET": secret}
	if err := config.CheckWebhooks(group, lookup); err != nil {
		t.Errorf("webhooks: %v", err)
	}
	if err := config.CheckEnvironment(group, lookup); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("environment without credentials: %v", err)
	}
}
