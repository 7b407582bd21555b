package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/policy/rank"
	"github.com/google/go-cmp/cmp"
)

// secret is what documents in testdata hold where no secret may be.
const secret = "hunter2"

// TestRefused: each folder of testdata/refused is one mistake and the exact text that a person reads.
func TestRefused(t *testing.T) {
	for _, dir := range folders(t, "testdata/refused") {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			group, err := config.Load(read(t, filepath.Join(dir, "group.yaml")), config.Options{Expression: rank.Check})
			if err == nil {
				t.Fatalf("accepted: %+v", group)
			}
			if !errkind.Is(err, errkind.Invalid) {
				t.Errorf("kind is %v, want invalid", errkind.Of(err))
			}
			var mistakes config.Mistakes
			if !errors.As(err, &mistakes) || len(mistakes) == 0 {
				t.Fatalf("no Mistakes in %v", err)
			}
			for _, m := range mistakes {
				if m.Problem == "" || m.Mend == "" {
					t.Errorf("%+v has no problem or no mend", m)
				}
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error repeats a secret: %v", err)
			}
			golden(t, filepath.Join(dir, "want.txt"), err.Error()+"\n")
		})
	}
}

// TestProviderNotInThisBuild: the capability list alone decides; the same documents load where the provider is there.
func TestProviderNotInThisBuild(t *testing.T) {
	for _, dir := range folders(t, "testdata/providers") {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			data := read(t, filepath.Join(dir, "group.yaml"))
			if _, err := config.Load(data, config.Options{}); err != nil {
				t.Fatalf("refused by a program with all providers: %v", err)
			}
			_, err := config.Load(data, config.Options{Providers: []string{"s3", "mem"}})
			if !errkind.Is(err, errkind.Invalid) {
				t.Fatalf("error is %v, want one of kind invalid", err)
			}
			golden(t, filepath.Join(dir, "want.txt"), err.Error()+"\n")
		})
	}
}

func TestCheckEnvironment(t *testing.T) {
	group := load(t, groupOf(
		`{name: a, url: "s3://media?endpoint=http://127.0.0.1:9001&dialect=minio&credentials=minio-a"}`,
		`{name: b, url: "s3://media?endpoint=http://127.0.0.1:9002&dialect=minio&credentials=B"}`,
		`{name: c, url: "s3://media?region=us-east-1"}`,
		`{name: d, url: "gs://media?credentials=gcp"}`,
		`{name: e, url: "azblob://media/media?credentials=azure"}`,
		`{name: f, url: "gs://media-open"}`,
	))
	env := map[string]string{}
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }

	env["BUCKETMESH_MINIO_A_ACCESS_KEY_ID"] = secret
	env["BUCKETMESH_B_ACCESS_KEY_ID"] = ""
	err := config.CheckEnvironment(group, lookup)
	if !errkind.Is(err, errkind.Invalid) {
		t.Fatalf("error is %v, want one of kind invalid", err)
	}
	golden(t, "testdata/environment.txt", err.Error()+"\n")

	env["BUCKETMESH_MINIO_A_SECRET_ACCESS_KEY"] = secret
	env["BUCKETMESH_B_ACCESS_KEY_ID"] = secret
	env["BUCKETMESH_B_SECRET_ACCESS_KEY"] = secret
	env["BUCKETMESH_GCP_CREDENTIALS_FILE"] = secret
	env["BUCKETMESH_AZURE_ACCOUNT_KEY"] = secret
	if err := config.CheckEnvironment(group, lookup); err != nil {
		t.Errorf("refused a complete environment: %v", err)
	}
}

func TestLoadFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	if _, err := config.LoadFile(missing, config.Options{}); !errkind.Is(err, errkind.NotFound) {
		t.Errorf("missing file: error is %v, want one of kind not found", err)
	}
	const bad = "testdata/refused/name-missing/group.yaml"
	_, err := config.LoadFile(bad, config.Options{})
	if !errkind.Is(err, errkind.Invalid) || !strings.HasPrefix(err.Error(), bad+": ") {
		t.Errorf("error is %v, want one of kind invalid that begins with the file", err)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, append(read(t, bad), make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.LoadFile(large, config.Options{}); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("large file: error is %v", err)
	}
}

// groupOf is a valid document with these replicas, each in YAML flow style.
func groupOf(replicas ...string) string {
	return "apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata: {name: media}\nspec:\n  replicas:\n  - " +
		strings.Join(replicas, "\n  - ") + "\n"
}

func load(t *testing.T, document string) *config.Group {
	t.Helper()
	group, err := config.Load([]byte(document), config.Options{Expression: rank.Check})
	if err != nil {
		t.Fatal(err)
	}
	return group
}

func folders(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*", "group.yaml"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no cases in %s: %v", dir, err)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *config.Update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(read(t, path)), got); diff != "" {
		t.Errorf("%s differs (-want +got), -update writes it anew:\n%s", path, diff)
	}
}
