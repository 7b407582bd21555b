package align_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/bucketmesh/bucketmesh/pkg/merge/internal/align"
)

// Every side is the base with its spans in place of those of the base: nothing of either is left out or there twice.
func TestChunksRebuildEverySide(t *testing.T) {
	draw := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 30)
	rapid.Check(t, func(t *rapid.T) {
		base := draw.Draw(t, "base")
		var sides [][]int
		for range rapid.IntRange(1, 4).Draw(t, "sides") {
			sides = append(sides, draw.Draw(t, "side"))
		}
		check(t, base, sides)
	})
}

type failer interface{ Fatalf(string, ...any) }

func check(t failer, base []int, sides [][]int) {
	chunks := align.Chunks(base, sides...)
	for i, side := range sides {
		var got []int
		at, sideAt := 0, 0
		for n, c := range chunks {
			if n > 0 && c.Base.From <= chunks[n-1].Base.To {
				t.Fatalf("chunks %+v touch", chunks[n-1:n+1])
			}
			got = append(append(got, base[at:c.Base.From]...), side[c.Sides[i].From:c.Sides[i].To]...)
			if want := c.Base.From - at + sideAt; c.Sides[i].From != want {
				t.Fatalf("side %d: chunk %+v begins at %d", i, c, want)
			}
			at, sideAt = c.Base.To, c.Sides[i].To
			if same := slices.Equal(base[c.Base.From:c.Base.To], side[c.Sides[i].From:c.Sides[i].To]); !c.Changed[i] && !same {
				t.Fatalf("side %d changed in %+v, which says that it did not", i, c)
			}
		}
		got = append(got, base[at:]...)
		if !slices.Equal(got, side) {
			t.Fatalf("side %d is %v, and rebuilt %v by %+v", i, side, got, chunks)
		}
	}
}

// Large sequences take another way, with the same promises.
func TestLargeSequences(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, kinds := range []int{2, 1 << 12, 1 << 30} {
		random := func() []int {
			s := make([]int, 1<<17)
			for i := range s {
				s[i] = r.IntN(kinds)
			}
			return s
		}
		base := random()
		edited := slices.Clone(base)
		for range 1000 {
			edited[r.IntN(len(edited))] = -1
		}
		check(t, base, [][]int{random(), edited, slices.Repeat([]int{7}, 1<<18)})
	}
}

func TestChangesThatTouchAreOne(t *testing.T) {
	base := []int{1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		a, b []int
		want []align.Span
	}{
		{[]int{9, 2, 3, 4, 5, 6}, []int{1, 2, 9, 4, 5, 6}, []align.Span{{0, 1}, {2, 3}}},
		{[]int{9, 2, 3, 4, 5, 6}, []int{1, 9, 3, 4, 5, 6}, []align.Span{{0, 2}}},
		{[]int{1, 2, 3, 4, 5, 6, 7}, []int{1, 2, 3, 4, 5, 6, 8}, []align.Span{{6, 6}}},
		{[]int{1, 2, 7, 3, 4, 5, 6}, []int{1, 2, 9, 4, 5, 6}, []align.Span{{2, 3}}},
		{[]int{1, 6}, []int{1, 2, 9, 4, 8, 6}, []align.Span{{1, 5}}},
	} {
		var got []align.Span
		for _, chunk := range align.Chunks(base, c.a, c.b) {
			got = append(got, chunk.Base)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v and %v: chunks %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func BenchmarkChunks(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, kinds := range map[string]int{"equal": 1, "two": 2, "thousand": 1000, "unique": 1 << 40} {
		for size, n := range map[string]int{"32Ki": 1 << 15, "512Ki": 1 << 19} {
			x, y := make([]int, n), make([]int, n)
			for i := range x {
				x[i], y[i] = r.IntN(kinds), r.IntN(kinds)
			}
			b.Run(name+"/"+size, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					align.Chunks(x, y)
				}
			})
		}
	}
}
