package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
)

// buckets are a new one at each server, the emulators behind their gates.
func buckets(t *testing.T) map[string]*replica {
	t.Helper()
	env := &environment{getenv: os.Getenv}
	name := fmt.Sprintf("e2e-%x", time.Now().UnixNano())
	all := map[string]*replica{}
	access, secret := env.need("BUCKETMESH_TEST_S3_ACCESS_KEY"), env.need("BUCKETMESH_TEST_S3_SECRET_KEY")
	for server, endpoint := range map[string]string{"minio": env.need("BUCKETMESH_TEST_MINIO_A"), "versitygw": env.need("BUCKETMESH_TEST_VERSITYGW")} {
		versioned := server == "minio"
		all[server] = &replica{traits: traits{versioned: versioned}, name: server, bucket: &s3Bucket{
			name: server, endpoint: endpoint, bucket: name, versioned: versioned, client: newS3Client(endpoint, access, secret),
		}}
	}
	account, key := env.need("BUCKETMESH_TEST_AZURE_ACCOUNT"), env.need("BUCKETMESH_TEST_AZURE_KEY")
	google, azurite := env.need("BUCKETMESH_TEST_GCS"), env.need("BUCKETMESH_TEST_AZURE_BLOB")
	if len(env.missing) > 0 {
		t.Fatalf("not set: %s: run hack/test.sh", strings.Join(env.missing, ", "))
	}
	gcsGate, err := emulator.NewGCS(google)
	if err != nil {
		t.Fatal(err)
	}
	azureGate, err := emulator.NewAzure(azurite, account, key, func(emulator.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGCSBucket(t.Context(), "gcs", serve(t, gcsGate), name)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAzureBucket("azure", serve(t, azureGate), account, key, name)
	if err != nil {
		t.Fatal(err)
	}
	all["gcs"] = &replica{traits: traits{exact: true}, name: "gcs", bucket: g}
	all["azure"] = &replica{traits: traits{exact: true}, name: "azure", bucket: a}
	for _, r := range all {
		if err := r.create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func serve(t *testing.T, gate http.Handler) string {
	t.Helper()
	endpoint, stop, err := emulator.Serve(t.Context(), "127.0.0.1:0", gate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return endpoint
}

func by(op, body int) properties {
	return properties{"text/csv", map[string]string{metaOp: fmt.Sprint(op), metaBody: fmt.Sprint(body), metaNote: "n"}}
}

func TestUsersCanDoEverythingEverywhere(t *testing.T) {
	for name, r := range buckets(t) {
		t.Run(name, func(t *testing.T) {
			ctx, key := t.Context(), "a b/+%25/ü.txt"
			holds := func(key string, op, body, bodyOp int) sight {
				t.Helper()
				s, err := r.look(ctx, key)
				if err != nil || !s.present || s.op != op || s.body != body {
					t.Fatalf("%+v, %v: want operation %d and bytes of %d", s, err, op, body)
				}
				c, err := r.get(ctx, key)
				if err != nil {
					t.Fatal(err)
				}
				if by, err := identify(1, c.body); err != nil || by != bodyOp || c.meta[metaNote] != "n" || c.contentType != "text/csv" {
					t.Fatalf("bytes of %d, %v, %q, %v", by, err, c.contentType, c.meta)
				}
				return s
			}
			refused := func(what string, err error) {
				t.Helper()
				if s := statusOf(err); s != http.StatusPreconditionFailed && s != http.StatusConflict {
					t.Errorf("%s: %v, want 412 or 409", what, err)
				}
			}
			do := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			absent, err := r.look(ctx, key)
			if err != nil || absent.present {
				t.Fatalf("%+v, %v", absent, err)
			}
			out, err := r.put(ctx, key, bodyOf(1, 1, 100), by(1, 1), condition{true, absent})
			do("put", err)
			first := holds(key, 1, 1, 1)
			if out.etag != first.etag || r.versioned != (out.versionID != "") {
				t.Errorf("%+v, seen as %+v", out, first)
			}
			_, err = r.put(ctx, key, bodyOf(1, 2, 100), by(2, 2), condition{true, absent})
			refused("put of what is there", err)
			_, err = r.edit(ctx, key, first, by(3, 1))
			do("edit", err)
			edited := holds(key, 3, 1, 1)
			if r.exact {
				_, err = r.put(ctx, key, bodyOf(1, 2, 100), by(2, 2), condition{true, first})
				refused("put over an edit", err)
				_, err = r.edit(ctx, key, first, by(2, 1))
				refused("edit of what was edited", err)
				_, err = r.copy(ctx, "copy", key, first, nil, condition{})
				refused("copy of what was edited", err)
				_, err = r.copy(ctx, key, key, edited, new(by(2, 1)), condition{true, first})
				refused("copy over an edit", err)
				_, err = r.remove(ctx, key, condition{true, first})
				refused("delete of what was edited", err)
			}
			_, err = r.copy(ctx, "kept", key, edited, nil, condition{})
			do("copy with the source's metadata", err)
			holds("kept", 3, 1, 1)
			_, err = r.copy(ctx, "new", key, edited, new(by(4, 1)), condition{})
			do("copy with other metadata", err)
			holds("new", 4, 1, 1)
			_, err = r.putLarge(ctx, key, bodyOf(1, 5, largePartSize+1000), by(5, 5), condition{true, edited})
			do("large put", err)
			large := holds(key, 5, 5, 5)
			_, err = r.putLarge(ctx, key, bodyOf(1, 6, largePartSize+1000), by(6, 6), condition{true, edited})
			refused("large put over another", err)
			_, err = r.remove(ctx, key, condition{!r.versioned, large})
			do("delete", err)
			if s, err := r.look(ctx, key); err != nil || s.present {
				t.Errorf("deleted: %+v, %v", s, err)
			}
			keys, err := r.list(ctx)
			if err != nil || !slices.Equal(keysOf(keys), []string{"kept", "new"}) || keys["new"].size != 100 {
				t.Errorf("%v, %v", keys, err)
			}
		})
	}
}

func TestAllServersHoldAllKeysOfTheWorkload(t *testing.T) {
	for name, r := range buckets(t) {
		want := keySpace(40)
		for _, key := range want {
			if _, err := r.put(t.Context(), key, []byte(key), by(1, 1), condition{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		keys, err := r.list(t.Context())
		if slices.Sort(want); err != nil || !slices.Equal(keysOf(keys), want) {
			t.Errorf("%s has %q, %v", name, keysOf(keys), err)
		}
		for _, key := range want {
			if c, err := r.get(t.Context(), key); err != nil || !bytes.Equal(c.body, []byte(key)) {
				t.Errorf("%s: %q: %v", name, key, err)
			}
		}
	}
}
