package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/test/chaos/register"
)

// Concurrent clients at each provider: whatever they were told can be put in one order.
func TestConditionalRequestsAreLinearizable(t *testing.T) {
	o := registersOptions{place: place{dir: t.TempDir(), seed: 1}, rounds: 2, clients: 6, keys: 2, ops: 40, limit: time.Minute}
	results, err := registers(t.Context(), o, os.Getenv)
	if err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := printRegisters(&out, "text", results); err != nil {
		t.Error(err)
	}
	t.Log("\n" + out.String())
	if len(results) != 4 {
		t.Fatalf("results of %d servers, want 4", len(results))
	}
	for _, r := range results {
		if r.Histories != o.rounds || r.Done < 50 || r.Refused < 20 || r.Unknown == 0 {
			t.Errorf("%s proves little: %+v", r.Server, r)
		}
		if native := r.Server == "gcs" || r.Server == "azure"; native != (r.Deletes > 0) {
			t.Errorf("%s: %d conditional deletes", r.Server, r.Deletes)
		}
	}
}

// careless is a bucket whose conditions are ignored.
type careless struct{ driver.Bucket }

func (c careless) Put(ctx context.Context, key string, body io.ReadSeeker, o *driver.PutOptions) (*driver.Attrs, error) {
	p := *o
	p.If = driver.Precondition{}
	return c.Bucket.Put(ctx, key, body, &p)
}

// The checker can fail: on the same servers, without their conditions, and with one answer changed.
func TestWhatIsNotLinearizableIsFound(t *testing.T) {
	all, stop, err := buckets(t.Context(), fmt.Sprintf("careless-%d", time.Now().UnixNano()), t.TempDir(), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			o := register.Options{Prefix: "careless/", Seed: 1, Clients: 6, Keys: 1, Ops: 40}
			h, err := register.Record(t.Context(), careless{b.bucket}, o)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := register.Check(h, time.Minute, ""); err != nil || v != register.Broken {
				t.Errorf("without conditions it is %s, %v", v, err)
			}
			o.Prefix = "careful/"
			if h, err = register.Record(t.Context(), b.bucket, o); err != nil {
				t.Fatal(err)
			}
			changed := false
			for i, op := range h { // one read found what nobody wrote before
				if op.Input.Kind == register.Read && op.Output.Answer == register.Done && !changed {
					h[i].Output.Value, changed = 1<<30, true
				}
			}
			if v, err := register.Check(h, time.Minute, ""); err != nil || v != register.Broken || !changed {
				t.Errorf("with a changed answer it is %s, %v (changed %v)", v, err, changed)
			}
		})
	}
}
