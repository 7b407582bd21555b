package walls

import (
	"slices"
	"strings"
	"testing"
)

// leaves lists the packages that know nothing of the rest: the only packages of the module that they may depend on,
// directly or not.
var leaves = map[string][]string{
	"config":            {},
	"pkg/errkind":       {},
	"pkg/version":       {},
	"pkg/event":         {"pkg/errkind"},
	"pkg/object/driver": {"pkg/errkind"},
	"pkg/policy/rank":   {"pkg/errkind"},
	"pkg/merge":         {"pkg/errkind", "pkg/merge/internal/align", "pkg/merge/internal/text", "pkg/merge/internal/tree"},
	"pkg/ledger":        {"pkg/errkind"},
	"pkg/deadletter":    {"pkg/errkind"},
}

// neighbours lists, for a package with a wall around it, the only packages of the module that it may import directly.
// The planner and the policies must run in the simulator and in the explorer: whoever adds a package here makes them
// depend on what that package does.
var neighbours = map[string][]string{
	"pkg/policy":         {"pkg/config", "pkg/errkind", "pkg/event", "pkg/policy/rank", "pkg/version"},
	"pkg/reconcile/plan": {"pkg/state", "pkg/version"},
	"pkg/guard":          {"pkg/errkind", "pkg/state", "pkg/version"},
	"pkg/reconcile": {
		"pkg/config", "pkg/errkind", "pkg/event", "pkg/guard", "pkg/merge", "pkg/object/driver", "pkg/policy", "pkg/reconcile/plan", "pkg/state", "pkg/transfer", "pkg/version",
	},
	"pkg/state":      {"pkg/errkind", "pkg/version"},
	"pkg/transfer":   {"pkg/errkind", "pkg/object/driver", "pkg/version"},
	"pkg/normalize":  {"pkg/config", "pkg/errkind", "pkg/event"},
	"pkg/merge/diff": {"pkg/merge"},
	"pkg/object":     {"pkg/errkind", "pkg/object/driver", "pkg/object/internal"},
}

// pure lists packages (not what is below them) that do no I/O: they may not import what does, not even for a moment.
// pkg/errkind is not among them: it needs net/http for the numbers of statuses.
var pure = []string{
	"pkg/version", "pkg/event", "pkg/guard", "pkg/policy", "pkg/policy/rank", "pkg/reconcile", "pkg/reconcile/plan", "pkg/normalize", "pkg/state", "pkg/object/driver",
	"pkg/merge", "pkg/merge/diff", "pkg/merge/internal/align", "pkg/merge/internal/text", "pkg/merge/internal/tree",
}

// doesIO lists imports that a pure package may not have, with all below them.
var doesIO = []string{
	"os", "net/http", "net/rpc", "net/smtp", "syscall", "database/sql", "io/ioutil", "log/syslog", "plugin", "math/rand",
	"github.com/aws", "cloud.google.com", "github.com/Azure", "github.com/nats-io", "github.com/jackc", "modernc.org",
	"google.golang.org/grpc", "golang.org/x/net", "golang.org/x/sys",
}

// places says where a library may be imported by code that is not a test; all else goes through an interface of ours.
var places = []struct {
	libraries []string
	except    []string
	folders   []string
	reason    string
}{
	{
		libraries: []string{"github.com/aws"},
		folders:   []string{"pkg/object/s3", "pkg/notifications/s3", "pkg/transfer/s3", "pkg/demo", "pkg/pull/sqs", "services/puller", "test"},
		reason:    "a provider's SDK stays behind the driver; the demo's workload is a user with tools of their own",
	},
	{
		libraries: []string{"cloud.google.com/go", "google.golang.org/api"},
		folders:   []string{"pkg/object/gcs", "pkg/notifications/gcs", "pkg/transfer/storagetransfer", "pkg/pull/pubsub", "services/puller", "pkg/demo", "hack/pubsub", "test"},
		reason:    "a provider's SDK stays behind the driver; hack/pubsub is the emulator that tests ask; the demo's workload is a user with tools of their own",
	},
	{
		libraries: []string{"github.com/Azure"},
		folders:   []string{"pkg/object/azblob", "pkg/notifications/azure", "pkg/transfer/azure", "pkg/pull/azqueue", "pkg/demo", "services/puller", "test"},
		reason:    "a provider's SDK stays behind the driver; the demo's workload is a user with tools of their own",
	},
	{
		libraries: []string{module + "/pkg/notifications"},
		folders:   []string{"pkg/notifications", "pkg/cli", "test"},
		reason:    "only a person at the command line changes what a bucket tells whom",
	},
	{
		libraries: []string{"k8s.io", "sigs.k8s.io", "knative.dev/eventing"},
		except:    []string{"sigs.k8s.io/yaml"}, // a YAML codec, no Kubernetes
		folders:   []string{"pkg/broker", "services/controller"},
		reason:    "only the broker filters as Knative does",
	},
	{
		libraries: []string{"knative.dev/pkg"},
		folders:   []string{"pkg/serve", "pkg/broker", "services/controller"},
		reason:    "only the runtime drains as Knative wants it",
	},
	{
		libraries: []string{"github.com/nats-io"},
		folders:   []string{"pkg/broker", "test"},
		reason:    "the broker is replaced by Knative's in a cluster",
	},
	{
		libraries: []string{"github.com/versity/versitygw", "github.com/gofiber"},
		folders:   []string{"pkg/demo/s3server"},
		reason:    "servers are not part of the product, and one process can hold one of them only",
	},
	{
		libraries: []string{"github.com/fsouza", "cloud.google.com/go/pubsub/v2/pstest"},
		folders:   []string{"pkg/demo/gcsserver", "hack/pubsub", "test"},
		reason:    "servers are not part of the product",
	},
	{
		libraries: []string{"database/sql", "modernc.org/sqlite", "github.com/jackc/pgx", "github.com/pressly/goose"},
		folders:   []string{"pkg/state", "pkg/audit", "test"},
		reason:    "SQL stays behind the store",
	},
	{
		libraries: []string{"znkr.io/diff"},
		folders:   []string{"pkg/merge/internal/align"},
		reason:    "what its differences are may change with its version: one place holds what is relied upon",
	},
	{
		libraries: []string{"github.com/spf13/cobra", "github.com/vbauerster/mpb"},
		folders:   []string{"pkg/cli", "services", "test", "hack"},
		reason:    "only the command line talks to a terminal",
	},
	{
		libraries: []string{"github.com/google/cel-go"},
		folders:   []string{"pkg/policy/rank"},
		reason:    "one language of expressions, which programs that evaluate none do not carry",
	},
	{
		libraries: []string{"testing", "net/http/httptest", "pgregory.net/rapid", "github.com/johannesboyne/gofakes3"},
		folders:   []string{"pkg/object/drivertest", "pkg/state/statetest", "pkg/state/postgres/pgtest", "pkg/audit/audittest", "pkg/pull/pulltest", "pkg/normalize/oidc/oidctest", "test"},
		reason:    "test helpers do not belong into programs",
	},
}

// heavy lists what a program must not carry, because what it does not use still has to be loaded when it starts from zero.
var heavy = map[string][]string{
	"services/normalizer-gcs":    {"github.com/google/cel-go", "cloud.google.com/go", "google.golang.org/api", "github.com/Azure/azure-sdk-for-go", "github.com/nats-io", "knative.dev/eventing", "modernc.org/sqlite", "github.com/aws", "github.com/jackc"},
	"services/normalizer-azure":  {"github.com/google/cel-go", "cloud.google.com/go", "google.golang.org/api", "github.com/Azure/azure-sdk-for-go", "github.com/nats-io", "knative.dev/eventing", "modernc.org/sqlite", "github.com/aws", "github.com/jackc"},
	"services/normalizer-s3":     {"github.com/google/cel-go", "cloud.google.com/go", "github.com/Azure/azure-sdk-for-go", "github.com/nats-io", "knative.dev/eventing", "modernc.org/sqlite", "github.com/aws", "github.com/jackc"},
	"services/sync":              {"cloud.google.com/go/pubsub", "github.com/nats-io", "knative.dev/eventing", "modernc.org/sqlite"},
	"services/conflict-resolver": {"cloud.google.com/go/pubsub", "github.com/nats-io", "knative.dev/eventing", "modernc.org/sqlite"},
	"services/dead-letters":      {"github.com/google/cel-go", "cloud.google.com/go", "github.com/Azure/azure-sdk-for-go", "github.com/nats-io", "knative.dev/eventing", "modernc.org/sqlite", "github.com/aws"},
	"services/audit":             {"github.com/google/cel-go", "cloud.google.com/go", "github.com/Azure/azure-sdk-for-go", "github.com/nats-io", "knative.dev/eventing", "modernc.org/sqlite", "github.com/aws"},
}

func TestProgramsCarryWhatTheyUse(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		forbidden, ok := heavy[p.Rel]
		if !ok {
			continue
		}
		seen++
		for _, dep := range p.Deps {
			if underAny(dep, forbidden) {
				t.Errorf("%s carries %s", p.Rel, dep)
			}
		}
	}
	if seen != len(heavy) {
		t.Errorf("found %d of %d programs: a name in the table is out of date", seen, len(heavy))
	}
}

func internal(imports []string) []string {
	var found []string
	for _, i := range imports {
		if rel, ok := strings.CutPrefix(i, module+"/"); ok {
			found = append(found, rel)
		}
	}
	return found
}

func TestLeavesKnowNothingOfTheRest(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		allowed, ok := leaves[p.Rel]
		if !ok {
			continue
		}
		seen++
		for _, dep := range internal(p.Deps) {
			if !slices.Contains(allowed, dep) {
				t.Errorf("%s depends on %s, and may depend on %v only", p.Rel, dep, allowed)
			}
		}
	}
	if seen != len(leaves) {
		t.Errorf("found %d of %d leaf packages: a name in the table is out of date", seen, len(leaves))
	}
}

func TestWalledPackagesImportTheirNeighboursOnly(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		allowed, ok := neighbours[p.Rel]
		if !ok {
			continue
		}
		seen++
		for _, dep := range internal(p.Imports) {
			if !underAny(dep, allowed) {
				t.Errorf("%s imports %s, and may import %v only", p.Rel, dep, allowed)
			}
		}
	}
	if seen != len(neighbours) {
		t.Errorf("found %d of %d walled packages: a name in the table is out of date", seen, len(neighbours))
	}
}

func TestPurePackagesDoNoIO(t *testing.T) {
	for _, p := range packages(t) {
		if !slices.Contains(pure, p.Rel) {
			continue
		}
		for _, dep := range p.Imports {
			if underAny(dep, doesIO) || dep == "net" || dep == "log" {
				t.Errorf("%s imports %s: it must do no I/O, and hide no randomness", p.Rel, dep)
			}
		}
	}
}

func TestLibrariesStayInTheirPlaces(t *testing.T) {
	for _, p := range packages(t) {
		for _, place := range places {
			if underAny(p.Rel, place.folders) {
				continue
			}
			for _, dep := range p.Imports {
				if underAny(dep, place.libraries) && !underAny(dep, place.except) {
					t.Errorf("%s imports %s, which belongs into %v only: %s", p.Rel, dep, place.folders, place.reason)
				}
			}
		}
	}
}

// manifests is the folder of the deployment, whose Triggers the one-process mode reads.
const manifests = "config"

func TestNobodyImportsAProgramOrATest(t *testing.T) {
	for _, p := range packages(t) {
		for _, dep := range internal(p.Imports) {
			if under(p.Rel, "pkg") && !under(dep, "pkg") && dep != manifests {
				t.Errorf("%s imports %s: packages do not know the programs", p.Rel, dep)
			}
		}
	}
}
