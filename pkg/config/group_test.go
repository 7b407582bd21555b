package config_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/policy/rank"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLoadFillsInDefaults(t *testing.T) {
	got := load(t, string(read(t, "testdata/accepted/smallest.yaml")))
	want := &config.Group{
		Name: "media",
		Replicas: []config.Replica{
			{Name: "us", URL: "s3://media-us?region=us-east-1", Provider: "s3", Bucket: "media-us", Mode: config.ReadWrite, Region: "us-east-1", Dialect: "aws"},
			{Name: "eu", URL: "s3://media-eu?region=eu-central-1", Provider: "s3", Bucket: "media-eu", Mode: config.ReadWrite, Region: "eu-central-1", Dialect: "aws"},
		},
		Filter:    config.Filter{Include: []string{"**"}},
		Conflicts: []config.ConflictRule{{Match: "**", Policy: config.KeepBoth}},
		Deletes: config.Deletes{
			Propagate: true, Brake: config.Brake{Keys: 20, Percent: 25, Within: time.Hour}, Hold: 5 * time.Second,
			Lifecycle: config.LifecyclePropagate, Quarantine: 168 * time.Hour,
		},
		Transfer: config.Transfer{PartSize: 16 << 20, Parallel: 8},
		Scan:     config.Scan{Every: 24 * time.Hour},
	}
	if diff := diffGroups(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoadReadsEverything(t *testing.T) {
	got := load(t, string(read(t, "testdata/accepted/full.yaml")))
	all := []string{"us", "eu", "asia", "gcp", "azure", "test"}
	want := &config.Group{
		Name: "media",
		Replicas: []config.Replica{
			{Name: "us", Provider: "s3", Bucket: "media", Mode: config.ReadWrite, Region: "us-east-1", Endpoint: "http://minio-us", PathStyle: true, Dialect: "minio", Credentials: "minio-us"},
			{Name: "eu", Provider: "s3", Bucket: "media", Prefix: "films/", Mode: config.ReadWrite, Region: "eu", Endpoint: "https://s3.example.net:8443", Dialect: "rgw", AcceptLossWindow: true},
			{Name: "asia", Provider: "s3", Bucket: "media-asia", Mode: config.ReadOnly, Region: "ap-northeast-1", PathStyle: true, Dialect: "aws"},
			{Name: "gcp", Provider: "gcs", Bucket: "media_gcp", Prefix: "a#b/", Mode: config.ReadWrite},
			{Name: "azure", Provider: "azblob", Account: "account", Bucket: "media", Prefix: "deep/er/", Mode: config.ReadWrite},
			{Name: "test", Provider: "mem", Bucket: "media", Mode: config.ReadWrite},
		},
		Filter: config.Filter{Include: []string{"docs/**", "**/*.json", "img**"}, Exclude: []string{"docs/tmp/**", "{a,b}.json"}},
		Conflicts: []config.ConflictRule{
			{Match: "config/**.json", Policy: config.Primary, Order: []string{"eu", "us", "asia", "gcp", "azure", "test"}},
			{Match: "logs/**", Policy: config.LastWriterWins, Discard: true},
			{Match: "**", Policy: config.LastWriterWins},
		},
		Deletes: config.Deletes{
			Brake:     config.Brake{Percent: 100, Within: 90 * time.Minute, PerMinute: 7},
			Lifecycle: config.LifecycleIgnore, Quarantine: 30 * time.Minute,
		},
		Transfer: config.Transfer{PartSize: 64 << 20, Parallel: 64, Bandwidth: 1_500_000_000},
		Scan:     config.Scan{Every: 90 * time.Minute},
	}
	if diff := diffGroups(want, got, cmpopts.IgnoreFields(config.Replica{}, "URL")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, name := range all {
		if r, ok := got.Replica(name); !ok || r.Name != name {
			t.Errorf("Replica(%q) = %q, %v", name, r.Name, ok)
		}
	}
	if r, ok := got.Replica("nobody"); ok {
		t.Errorf("Replica(nobody) = %+v", r)
	}
}

// TestLoadReadsNotifications: they are what was written, and replicas may pull from one queue.
func TestLoadReadsNotifications(t *testing.T) {
	g := load(t, string(read(t, "testdata/accepted/notifications.yaml")))
	const account = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/media/providers/Microsoft.Storage/storageAccounts/mediaeu"
	for name, want := range map[string]config.Notifications{
		"sqs": {Target: "arn:aws:sqs:us-east-1:123456789012:changes", Pull: "https://sqs.us-east-1.amazonaws.com/123456789012/changes"},
		"sns": {Target: "arn:aws-cn:sns:cn-north-1:123456789012:changes", Pull: "https://sqs.us-east-1.amazonaws.com/123456789012/changes"},
		"gcs": {
			Target: "projects/media-1/topics/changes", Pull: "projects/123456789/subscriptions/changes",
			Subscription: "projects/example.com:media-1/subscriptions/changes-push",
		},
		"webhook": {Target: "https://hooks.example.net/azure/webhook", Scope: account},
	} {
		r, _ := g.Replica(name)
		if diff := cmp.Diff(want, r.Notifications); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	if r, _ := g.Replica("gcs"); r.Endpoint != "http://localhost:4443" || r.Bucket != "media.example.net_eu" || r.Credentials != "gcp-eu" {
		t.Errorf("gcs is %+v", r)
	}
}

func TestAppendedRuleForTheRest(t *testing.T) {
	g := load(t, groupOf(`{name: a, url: "mem://one"}`, `{name: b, url: "mem://two"}`)+
		"  conflicts:\n  - {match: \"a/**\", policy: last-writer-wins}\n")
	if n := len(g.Conflicts); n != 2 || g.Conflicts[1].Match != "**" || g.Conflicts[1].Policy != config.KeepBoth {
		t.Errorf("rules are %+v", g.Conflicts)
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		filter  string
		in, out []string
	}{
		{"{}", []string{"a", "a/b", "a/", "/a", "a//b", "./a", "é/ü", "\xff", ".bucketmesh", "x/.bucketmesh/y", ".conflicts/a/1"}, []string{"", ".bucketmesh/", ".bucketmesh/marker"}},
		{`{include: ["docs/**"]}`, []string{"docs/a", "docs/a/b", "docs/", "docs/a/"}, []string{"doc", "docsx/a", "a/docs/b"}},
		{`{exclude: ["tmp/**"]}`, []string{"tmpx/a", "a/tmp/b"}, []string{"tmp/a", "tmp/a/b", "tmp/"}},
		{`{include: ["**/*.json"]}`, []string{"a.json", "a/b.json", "a/b/c.json"}, []string{"a.jsonx", "a.json/b"}},
		{`{include: ["config/**.json"]}`, []string{"config/a.json", "config/a/b.json", "config/a/b/c.json"}, []string{"config/a.txt", "a.json", "xconfig/a.json"}},
		{`{include: ["img**"]}`, []string{"img", "img1", "img/a/b"}, []string{"im", "a/img"}},
		{`{include: ["*"]}`, []string{"a", "a.b"}, []string{"a/b", "a/"}},
		{`{include: ["a?c", "[xy]z", "{p,q/**}"]}`, []string{"abc", "xz", "p", "q/r/s"}, []string{"ac", "a/c", "zz", "r"}},
		{`{include: ["a\\*"]}`, []string{"a*"}, []string{"ab"}},
		{`{include: ["a/**"], exclude: [".conflict*/**", "**"]}`, []string{".conflicts/a/1", ".conflicts/other"}, []string{"a/b"}},
	}
	for _, test := range tests {
		t.Run(test.filter, func(t *testing.T) {
			loaded := load(t, groupOf(`{name: a, url: "mem://one"}`, `{name: b, url: "mem://two"}`)+"  filter: "+test.filter+"\n")
			byHand := &config.Group{Filter: loaded.Filter}
			for _, g := range []*config.Group{loaded, byHand} {
				for _, key := range test.in {
					if !g.Match(key) {
						t.Errorf("%q does not match", key)
					}
				}
				for _, key := range test.out {
					if g.Match(key) {
						t.Errorf("%q matches", key)
					}
				}
			}
		})
	}
}

func TestRuleIsTheFirstThatMatches(t *testing.T) {
	g := load(t, string(read(t, "testdata/accepted/full.yaml")))
	for key, want := range map[string]string{
		"config/app.json": "config/**.json", "config/eu/app.json": "config/**.json", "config/app.yaml": "**", "logs/1": "logs/**", "x": "**",
	} {
		if got := g.Rule(key).Match; got != want {
			t.Errorf("Rule(%q) is that of %q, want %q", key, got, want)
		}
	}
	empty := &config.Group{Conflicts: []config.ConflictRule{{Match: "[", Policy: config.Primary}}}
	for _, key := range []string{"a", "[", `\`, ""} {
		if got := empty.Rule(key); got.Policy != config.KeepBoth {
			t.Errorf("without a rule that matches, Rule(%q) = %+v", key, got)
		}
	}
}

func TestReplicaFor(t *testing.T) {
	g := load(t, groupOf(
		`{name: a, url: "s3://data/in?endpoint=http://127.0.0.1:9001&dialect=minio"}`,
		`{name: b, url: "s3://data/inbox/x?endpoint=http://127.0.0.1:9001&dialect=minio"}`,
		`{name: c, url: "s3://data?endpoint=http://127.0.0.1:9002&dialect=minio"}`,
		`{name: d, url: "s3://data?region=us-east-1"}`,
		`{name: e, url: "gs://data"}`,
		`{name: f, url: "azblob://acc/data"}`,
		`{name: g, url: "mem://data"}`,
		`{name: h, url: "gs://data?endpoint=HTTP://127.0.0.1:4443/"}`,
		`{name: i, url: "azblob://acc/data?endpoint=http://127.0.0.1:10000"}`,
	))
	const one, two = "http://127.0.0.1:9001/data", "http://127.0.0.1:9002/data"
	tests := []struct{ source, bucketKey, replica, key string }{
		{one, "in/a", "a", "a"},
		{one, "in/a/b", "a", "a/b"},
		{one, "in/", "", ""},
		{one, "in", "", ""},
		{one, "inbox/x/a", "b", "a"},
		{one, "inbox/a", "", ""},
		{one, "a", "", ""},
		{two, "in/a", "c", "in/a"},
		{two, "", "", ""},
		{"https://s3.us-east-1.amazonaws.com/data", "a", "d", "a"},
		{"https://storage.googleapis.com/data", "a", "e", "a"},
		{"https://acc.blob.core.windows.net/data", "a", "f", "a"},
		{"mem://data", "a", "g", "a"},
		{"http://127.0.0.1:4443/data", "a", "h", "a"},
		{"http://127.0.0.1:10000/acc/data", "a", "i", "a"},
		{"http://127.0.0.1:9003/data", "a", "", ""},
	}
	for _, test := range tests {
		found := g.ReplicaFor(test.source, test.bucketKey)
		if test.replica == "" {
			if len(found) != 0 {
				t.Errorf("%s %q belongs to %+v", test.source, test.bucketKey, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Replica.Name != test.replica || found[0].Key != test.key {
			t.Errorf("%s %q belongs to %+v, want %s %q", test.source, test.bucketKey, found, test.replica, test.key)
			continue
		}
		if back := found[0].Replica.BucketKey(found[0].Key); back != test.bucketKey {
			t.Errorf("BucketKey(%q) = %q, want %q", found[0].Key, back, test.bucketKey)
		}
	}
}

func TestCredentialVariables(t *testing.T) {
	for _, test := range []struct {
		replica config.Replica
		want    []string
	}{
		{config.Replica{Provider: "s3"}, nil},
		{config.Replica{Provider: "s3", Credentials: "EU"}, []string{"BUCKETMESH_EU_ACCESS_KEY_ID", "BUCKETMESH_EU_SECRET_ACCESS_KEY"}},
		{config.Replica{Provider: "s3", Credentials: "minio-eu"}, []string{"BUCKETMESH_MINIO_EU_ACCESS_KEY_ID", "BUCKETMESH_MINIO_EU_SECRET_ACCESS_KEY"}},
		{config.Replica{Provider: "gcs", Credentials: "eu"}, []string{"BUCKETMESH_EU_CREDENTIALS_FILE"}},
		{config.Replica{Provider: "azblob", Credentials: "eu"}, []string{"BUCKETMESH_EU_ACCOUNT_KEY"}},
	} {
		if got := test.replica.CredentialVariables(); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, want %v", test.replica, got, test.want)
		}
	}
}

// TestMarshalRoundTrips also holds that every example and every accepted document loads.
func TestMarshalRoundTrips(t *testing.T) {
	for _, pattern := range []string{"testdata/accepted/*", "testdata/providers/*/group.yaml", "../../docs/examples/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, file := range found {
			t.Run(file, func(t *testing.T) {
				group, err := config.LoadFile(file, config.Options{Expression: rank.Check})
				if err != nil {
					t.Fatal(err)
				}
				roundTrip(t, group)
			})
		}
	}
}

// FuzzLoad: no input makes Load panic; what it refuses, it refuses with a reason; what it accepts, it accepts again.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/accepted/*", "testdata/refused/*/group.yaml", "../../docs/examples/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			f.Fatalf("no files %s: %v", pattern, err)
		}
		for _, file := range found {
			f.Add(read(f, file))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		group, err := config.Load(data, config.Options{Expression: rank.Check})
		if err != nil {
			if group != nil || !strings.Contains(err.Error(), "; ") {
				t.Fatalf("group %v with error %v", group, err)
			}
			return
		}
		for _, r := range group.Replicas {
			if located := group.ReplicaFor(r.Source(), r.BucketKey("key")); len(located) != 1 || located[0].Key != "key" {
				t.Fatalf("a key of %s belongs to %+v", r.Name, located)
			}
		}
		if group.Match(config.ReservedPrefix+"x") || !group.Match(config.ConflictPrefix+"x") {
			t.Fatal("the filter reaches reserved keys")
		}
		roundTrip(t, group)
	})
}

func roundTrip(t *testing.T, group *config.Group) {
	t.Helper()
	written, err := config.Marshal(group)
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Load(written, config.Options{Expression: rank.Check})
	if err != nil {
		t.Fatalf("what Marshal wrote is refused: %v\n%s", err, written)
	}
	if !reflect.DeepEqual(group, again) {
		t.Fatalf("differs (-before +after):\n%s", diffGroups(group, again))
	}
}

func diffGroups(want, got *config.Group, opts ...cmp.Option) string {
	return cmp.Diff(want, got, append(opts, cmpopts.IgnoreUnexported(config.Group{}))...)
}
