package merge_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/bucketmesh/bucketmesh/pkg/merge"
)

// largest is a content of 4 MiB that differs from others as much as it can.
func largest(f merge.Format, seed uint64, kinds int) []byte {
	const size = 4 << 20
	r := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	b.Grow(size)
	switch f {
	case merge.JSON:
		b.WriteString("[")
		for b.Len() < size-20 {
			fmt.Fprintf(&b, "%07d,", 1000000+r.IntN(kinds))
		}
		b.WriteString("1]")
	case merge.CSV, merge.NDJSON, merge.Text:
		for b.Len() < size-20 {
			fmt.Fprintf(&b, "%07d\n", 1000000+r.IntN(kinds))
		}
	}
	return []byte(b.String())
}

// Contents of the size that is merged by default end in a merge or in a clash, whatever they are. By an algorithm without a
// bound this test would not end in time.
func TestLargestContents(t *testing.T) {
	for _, f := range []merge.Format{merge.JSON, merge.Text, merge.CSV, merge.NDJSON} {
		for _, kinds := range []int{1000} {
			t.Run(fmt.Sprintf("%s/%d", f, kinds), func(t *testing.T) {
				base, a, b := largest(f, 1, kinds), largest(f, 2, kinds), largest(f, 3, kinds)
				a, b = append(a, " \n"...), append(b, "\n"...)
				_, err := merge.Merge(f, base, a, b)
				if _, ok := errors.AsType[*merge.Clash](err); err != nil && !ok {
					t.Error(err)
				}
			})
		}
	}
}

func TestMillionsOfEqualLines(t *testing.T) {
	lines := strings.Repeat("\n", 4<<20)
	_, err := merge.Merge(merge.Text, []byte(lines), []byte(lines+"a\n"), []byte("b\n"+lines))
	if err == nil || !strings.Contains(err.Error(), "more than 524288 lines") {
		t.Error(err)
	}
	lines = strings.Repeat("same\n", 500_000)
	got, err := merge.Merge(merge.Text, []byte(lines), []byte(lines+"a\n"), []byte("b\n"+lines))
	if err != nil || string(got) != "b\n"+lines+"a\n" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Objects of many members, all added in between those of the other side.
func TestManyMembers(t *testing.T) {
	side := func(other string) []byte {
		var b strings.Builder
		for i := range 20_000 {
			fmt.Fprintf(&b, `,"m%d":1,"%s%d":1`, i, other, i)
		}
		return []byte("{" + b.String()[1:] + "}")
	}
	got, err := merge.Merge(merge.JSON, []byte("{}"), side("a"), side("b"))
	if err != nil || strings.Count(string(got), ":") != 60_000 {
		t.Errorf("%d members, %v", strings.Count(string(got), ":"), err)
	}
}

func TestDepth(t *testing.T) {
	deep := func(in string) []byte { return []byte(strings.Repeat(`{"a":`, 1000) + in + strings.Repeat("}", 1000)) }
	got, err := merge.Merge(merge.JSON, deep(`1`), deep(`2`), []byte(strings.Replace(string(deep(`1`)), "{", `{"b":1,`, 1)))
	if want := strings.Replace(string(deep(`2`)), "{", `{"b":1,`, 1); err != nil || string(got) != want {
		t.Errorf("%.100s, %v", got, err)
	}
}
