package merge_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/merge"
)

func FuzzJSON(f *testing.F) {
	fuzz(f, merge.JSON, func(t *testing.T, got []byte, _ ...[]byte) {
		if !json.Valid(got) {
			t.Errorf("merged to %q, which is not JSON", got)
		}
	})
}

func FuzzText(f *testing.F) {
	fuzz(f, merge.Text, func(t *testing.T, got []byte, inputs ...[]byte) {
		has := map[string]bool{}
		for _, in := range inputs {
			for line := range strings.Lines(string(in)) {
				has[line] = true
			}
		}
		for line := range strings.Lines(string(got)) {
			if !has[line] {
				t.Errorf("nobody wrote %q", line)
			}
		}
	})
}

func FuzzNDJSON(f *testing.F) {
	fuzz(f, merge.NDJSON, func(t *testing.T, got []byte, inputs ...[]byte) {
		for line := range strings.Lines(strings.TrimPrefix(string(got), "\ufeff")) {
			if !json.Valid([]byte(line)) {
				t.Errorf("line %q is not JSON", line)
			}
		}
	})
}

func FuzzCSV(f *testing.F) {
	fuzz(f, merge.CSV, func(t *testing.T, got []byte, inputs ...[]byte) {
		for _, comma := range ",;\t|" {
			wrote, ok := map[string]bool{}, true
			for _, in := range inputs {
				ok = records(in, comma, func(r string) { wrote[r] = true }) && ok
			}
			if !ok {
				continue // that is not what stands between fields
			}
			if !records(got, comma, func(r string) {
				if !wrote[r] {
					t.Errorf("nobody wrote the record %q of %q", r, got)
				}
			}) {
				t.Errorf("merged to %q, which is no CSV", got)
			}
		}
	})
}

func records(text []byte, comma rune, each func(string)) bool {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	r.Comma, r.FieldsPerRecord = comma, -1
	for {
		fields, err := r.Read()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		each(strings.Join(fields, "\x00"))
	}
}

// fuzz merges two sides with and without a base, in both orders. Whatever they are, there is a result or a refusal of kind
// invalid, and check looks at the result of a merge that had something to do.
func fuzz(f *testing.F, format merge.Format, check func(t *testing.T, got []byte, inputs ...[]byte)) {
	folders, err := filepath.Glob("testdata/" + string(format) + "/*")
	if err != nil || len(folders) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, dir := range folders {
		var seed [3][]byte
		for i, name := range []string{"base", "side1", "side2"} {
			seed[i], err = os.ReadFile(filepath.Join(dir, name+"."+string(format)))
			if err != nil && (name != "base" || !errors.Is(err, os.ErrNotExist)) {
				f.Fatal(err)
			}
		}
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, base, a, b []byte) {
		for _, old := range [][]byte{base, nil} {
			got, err := merge.Merge(format, old, a, b)
			other, otherErr := merge.Merge(format, old, b, a)
			if !bytes.Equal(got, other) || (err == nil) != (otherErr == nil) {
				t.Fatalf("%q, %v, and in the other order %q, %v", got, err, other, otherErr)
			}
			if err != nil {
				if !errkind.Is(err, errkind.Invalid) {
					t.Errorf("refusal %q of kind %v", err, errkind.Of(err))
				}
				continue
			}
			if bytes.Equal(a, b) || old != nil && (bytes.Equal(a, old) || bytes.Equal(b, old)) {
				continue // taken as it is
			}
			check(t, got, old, a, b)
			if again, err := merge.Merge(format, old, got, got, got); err != nil || !bytes.Equal(again, got) {
				t.Errorf("of itself it is %q, %v", again, err)
			}
		}
	})
}
