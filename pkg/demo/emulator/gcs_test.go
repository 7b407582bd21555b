package emulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

// need is an environment variable that hack/test.sh sets.
func need(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run hack/test.sh", name)
	}
	return v
}

// gcsBucket is a new bucket behind a gate, used with Google's own client.
func gcsBucket(t *testing.T) (bucket *storage.BucketHandle, endpoint string) {
	t.Helper()
	g, err := NewGCS(need(t, "BUCKETMESH_TEST_GCS"))
	if err != nil {
		t.Fatal(err)
	}
	endpoint, stop, err := Serve(t.Context(), "127.0.0.1:0", g)
	if err != nil {
		t.Fatal(err)
	}
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(endpoint+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(client.Close(), stop()); err != nil {
			t.Error(err)
		}
	})
	id, err := newID()
	if err != nil {
		t.Fatal(err)
	}
	bucket = client.Bucket("gate-" + id).Retryer(storage.WithPolicy(storage.RetryNever))
	if err := bucket.Create(t.Context(), "test", nil); err != nil {
		t.Fatal(err)
	}
	return bucket, endpoint
}

func write(ctx context.Context, o *storage.ObjectHandle, body []byte, chunk int, change func(*storage.ObjectAttrs)) (*storage.ObjectAttrs, error) {
	w := o.NewWriter(ctx)
	w.ChunkSize = chunk
	w.ContentType, w.Metadata = "text/plain", map[string]string{"note": "first"}
	if change != nil {
		change(&w.ObjectAttrs)
	}
	_, err := w.Write(body)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return w.Attrs(), nil
}

func mustWrite(t *testing.T, o *storage.ObjectHandle, body string) *storage.ObjectAttrs {
	t.Helper()
	a, err := write(t.Context(), o, []byte(body), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func gcsStatus(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if e := new(googleapi.Error); errors.As(err, &e) {
		return e.Code
	}
	if errors.Is(err, storage.ErrObjectNotExist) {
		return http.StatusNotFound
	}
	return 0
}

// operations are all that Google's client does to an object, each with the conditions of its handle.
func operations(bucket *storage.BucketHandle) map[string]func(context.Context, *storage.ObjectHandle) error {
	return map[string]func(context.Context, *storage.ObjectHandle) error{
		"write in one request": func(ctx context.Context, o *storage.ObjectHandle) error {
			_, err := write(ctx, o, []byte("new"), 0, nil)
			return err
		},
		"resumable write": func(ctx context.Context, o *storage.ObjectHandle) error {
			_, err := write(ctx, o, bytes.Repeat([]byte("x"), 600<<10), 256<<10, nil)
			return err
		},
		"edit": func(ctx context.Context, o *storage.ObjectHandle) error {
			_, err := o.Update(ctx, storage.ObjectAttrsToUpdate{Metadata: map[string]string{"note": "second"}})
			return err
		},
		"delete": func(ctx context.Context, o *storage.ObjectHandle) error { return o.Delete(ctx) },
		"copy": func(ctx context.Context, o *storage.ObjectHandle) error {
			_, err := o.CopierFrom(bucket.Object("source")).Run(ctx)
			return err
		},
		"compose": func(ctx context.Context, o *storage.ObjectHandle) error {
			c := o.ComposerFrom(bucket.Object("source"), bucket.Object("source"))
			c.ContentType = "text/csv"
			_, err := c.Run(ctx)
			return err
		},
	}
}

func TestConditionsOfEveryOperationHold(t *testing.T) {
	bucket, _ := gcsBucket(t)
	mustWrite(t, bucket.Object("source"), "source")
	for name, do := range operations(bucket) {
		t.Run(name, func(t *testing.T) {
			o := bucket.Object("über/a b+c%#?/" + name)
			first := mustWrite(t, o, "first")
			second, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"note": "edited"}})
			if err != nil {
				t.Fatal(err)
			}
			if second.Generation != first.Generation || first.Metageneration != 1 || second.Metageneration != 2 || second.Metadata["note"] != "edited" {
				t.Fatalf("first %d.%d, edited %d.%d %v", first.Generation, first.Metageneration, second.Generation, second.Metageneration, second.Metadata)
			}
			for _, c := range []storage.Conditions{
				{DoesNotExist: true}, {GenerationMatch: first.Generation + 1}, {GenerationNotMatch: first.Generation},
				{GenerationMatch: first.Generation, MetagenerationMatch: first.Metageneration}, {MetagenerationMatch: 3}, {MetagenerationNotMatch: 2},
			} {
				if name == "compose" && (c.GenerationNotMatch != 0 || c.MetagenerationNotMatch != 0) {
					continue // the API has no such conditions here
				}
				if err := do(t.Context(), o.If(c)); gcsStatus(err) != http.StatusPreconditionFailed {
					t.Errorf("%+v: %v, want 412", c, err)
				}
			}
			if a, err := o.Attrs(t.Context()); err != nil || a.Generation != first.Generation || a.Metageneration != 2 {
				t.Errorf("refused operations changed the object: %+v, %v", a, err)
			}
			if err := do(t.Context(), o.If(storage.Conditions{GenerationMatch: first.Generation, MetagenerationMatch: 2})); err != nil {
				t.Errorf("the conditions hold: %v", err)
			}
			a, err := o.Attrs(t.Context())
			switch {
			case name == "delete":
				if !errors.Is(err, storage.ErrObjectNotExist) {
					t.Errorf("deleted: %v", err)
				}
			case err != nil:
				t.Fatal(err)
			case name == "edit" && (a.Generation != first.Generation || a.Metageneration != 3):
				t.Errorf("edited once more: %d.%d", a.Generation, a.Metageneration)
			case name != "edit" && (a.Generation <= first.Generation || a.Metageneration != 1):
				t.Errorf("overwritten: %d.%d after %d", a.Generation, a.Metageneration, first.Generation)
			}
		})
	}
}

func TestWritesOfAbsentObjects(t *testing.T) {
	bucket, _ := gcsBucket(t)
	mustWrite(t, bucket.Object("source"), "source")
	for name, do := range operations(bucket) {
		o := bucket.Object(name)
		want := http.StatusPreconditionFailed
		if name == "edit" || name == "delete" {
			want = http.StatusNotFound
		}
		if err := do(t.Context(), o.If(storage.Conditions{GenerationMatch: 7})); gcsStatus(err) != want {
			t.Errorf("%s of what is not there with a condition: %v, want %d", name, err, want)
		}
		want = http.StatusOK
		if name == "edit" || name == "delete" {
			want = http.StatusNotFound
		}
		if err := do(t.Context(), o.If(storage.Conditions{DoesNotExist: true})); gcsStatus(err) != want {
			t.Errorf("%s only if it is not there: %v, want %d", name, err, want)
		}
	}
}

func TestConditionsOfSourcesAndReadsHold(t *testing.T) {
	bucket, _ := gcsBucket(t)
	o := bucket.Object("source")
	first := mustWrite(t, o, "first")
	if _, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{"note": "edited"}}); err != nil {
		t.Fatal(err)
	}
	stale := storage.Conditions{GenerationMatch: first.Generation, MetagenerationMatch: 1}
	for name, do := range map[string]func(*storage.ObjectHandle) error{
		"copy": func(o *storage.ObjectHandle) error {
			_, err := bucket.Object("copy").CopierFrom(o).Run(t.Context())
			return err
		},
		"look": func(o *storage.ObjectHandle) error {
			a, err := o.Attrs(t.Context())
			if err == nil && a.Metageneration != 2 {
				t.Errorf("metageneration %d", a.Metageneration)
			}
			return err
		},
		"read": func(o *storage.ObjectHandle) error {
			r, err := o.NewReader(t.Context())
			if err != nil {
				return err
			}
			if r.Attrs.Metageneration != 2 || r.Attrs.Generation != first.Generation {
				t.Errorf("read %d.%d", r.Attrs.Generation, r.Attrs.Metageneration)
			}
			return r.Close()
		},
	} {
		if err := do(o.If(stale)); gcsStatus(err) != http.StatusPreconditionFailed {
			t.Errorf("%s of an edited object: %v, want 412", name, err)
		}
		if err := do(o.If(storage.Conditions{GenerationMatch: first.Generation, MetagenerationMatch: 2})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := do(o.Generation(first.Generation + 1)); gcsStatus(err) != http.StatusNotFound {
			t.Errorf("%s of another generation: %v, want 404", name, err)
		}
	}
	_, err := bucket.Object("composed").ComposerFrom(o.If(storage.Conditions{GenerationMatch: first.Generation + 1})).Run(t.Context())
	if gcsStatus(err) != http.StatusPreconditionFailed {
		t.Errorf("composition of another generation: %v, want 412", err)
	}
	if _, err = bucket.Object("composed").ComposerFrom(o, bucket.Object("nothing")).Run(t.Context()); gcsStatus(err) != http.StatusNotFound {
		t.Errorf("composition of what is not there: %v, want 404", err)
	}
}

func TestCompositionHasItsOwnProperties(t *testing.T) {
	bucket, _ := gcsBucket(t)
	mustWrite(t, bucket.Object("a"), "a")
	mustWrite(t, bucket.Object("target"), "old")
	c := bucket.Object("target").ComposerFrom(bucket.Object("a"), bucket.Object("a"))
	c.ContentType, c.Metadata = "text/csv", map[string]string{"note": "composed"}
	a, err := c.Run(t.Context())
	if err != nil || a.ContentType != "text/csv" || a.Size != 2 || !maps.Equal(a.Metadata, c.Metadata) {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestEditsAreMergedAndOfOneObjectOnly(t *testing.T) {
	bucket, _ := gcsBucket(t)
	o := bucket.Object("original")
	if _, err := write(t.Context(), o, []byte("x"), 0, func(a *storage.ObjectAttrs) { a.Metadata = map[string]string{"a": "1", "b": "2"} }); err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Object("copy").CopierFrom(o).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, err := o.Update(t.Context(), storage.ObjectAttrsToUpdate{ContentType: "text/csv", Metadata: map[string]string{"b": "3", "c": "4"}})
	if want := map[string]string{"a": "1", "b": "3", "c": "4"}; err != nil || !maps.Equal(a.Metadata, want) || a.ContentType != "text/csv" {
		t.Errorf("%+v, %v; want %v", a, err, want)
	}
	if a, err = bucket.Object("copy").Attrs(t.Context()); err != nil || !maps.Equal(a.Metadata, map[string]string{"a": "1", "b": "2"}) {
		t.Errorf("the copy: %+v, %v", a, err)
	}
	if a, err = o.Update(t.Context(), storage.ObjectAttrsToUpdate{Metadata: map[string]string{}}); err != nil || len(a.Metadata) > 0 || a.Metageneration != 3 {
		t.Errorf("all metadata removed: %+v, %v", a, err)
	}
}

func TestListsTellMetagenerations(t *testing.T) {
	bucket, _ := gcsBucket(t)
	mustWrite(t, bucket.Object("a"), "a")
	mustWrite(t, bucket.Object("b"), "b")
	if _, err := bucket.Object("b").Update(t.Context(), storage.ObjectAttrsToUpdate{ContentType: "text/csv"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	it := bucket.Objects(t.Context(), nil)
	for range 2 {
		a, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %d", a.Name, a.Metageneration))
	}
	if want := []string{"a 1", "b 2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestOneOf32WritersWins(t *testing.T) {
	bucket, _ := gcsBucket(t)
	mustWrite(t, bucket.Object("source"), "source")
	for name, do := range operations(bucket) {
		for round := range 20 {
			o := bucket.Object(fmt.Sprintf("%s/%d", name, round))
			first := mustWrite(t, o, "first")
			o = o.If(storage.Conditions{GenerationMatch: first.Generation, MetagenerationMatch: 1})
			var won, refused atomic.Int32
			together(32, func() {
				switch err := do(t.Context(), o); gcsStatus(err) {
				case http.StatusOK:
					won.Add(1)
				case http.StatusPreconditionFailed, http.StatusNotFound:
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
			if won.Load() != 1 || refused.Load() != 31 {
				t.Fatalf("%s: %d of 32 writers won, %d were refused", name, won.Load(), refused.Load())
			}
		}
	}
}

// together calls f n times at the same moment.
func together(n int, f func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			f()
		})
	}
	close(start)
	wg.Wait()
}

func TestASlowReaderHoldsUpNobody(t *testing.T) {
	bucket, _ := gcsBucket(t)
	o := bucket.Object("large")
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if _, err := write(t.Context(), o, body, 4<<20, nil); err != nil {
		t.Fatal(err)
	}
	r, err := o.NewReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, o, "new")
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v: want what was there when the read began", len(got), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatWouldGetAroundTheGateIsRefused(t *testing.T) {
	bucket, endpoint := gcsBucket(t)
	for method, path := range map[string]string{
		http.MethodPost: "/batch/storage/v1", http.MethodPut: "/" + bucket.BucketName() + "/object",
	} {
		req, err := http.NewRequestWithContext(t.Context(), method, endpoint+path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s %s: %s, %v", method, path, resp.Status, err)
		}
	}
}

func TestEndsUpload(t *testing.T) {
	for contentRange, want := range map[string]bool{
		"": true, "bytes 0-9/10": true, "bytes */10": true, "bytes 0-9/*": false, "bytes 0-8/10": false, "bytes 0-*/*": false,
	} {
		if got := endsUpload(contentRange); got != want {
			t.Errorf("%q: %v", contentRange, got)
		}
	}
}
