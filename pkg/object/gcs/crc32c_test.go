package gcs

import (
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"
)

// TestCombine: however content is cut, the pieces' sums make the sum of the whole.
func TestCombine(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "content")
		cut := rapid.IntRange(0, len(content)).Draw(t, "cut")
		first, second := crc32.Checksum(content[:cut], table), crc32.Checksum(content[cut:], table)
		if got, want := combine(first, second, int64(len(content)-cut)), crc32.Checksum(content, table); got != want {
			t.Fatalf("combined %08x, want %08x", got, want)
		}
	})
	// Zeros, so that a length beyond 32 bits can be checked: a sum of zero bytes only depends on how many there are.
	gigabyte := uint32(0)
	block := crc32.Checksum(make([]byte, 1<<20), table)
	for range 1 << 10 {
		gigabyte = combine(gigabyte, block, 1<<20)
	}
	eight, other := uint32(0), uint32(0)
	for range 8 {
		eight = combine(eight, gigabyte, 1<<30)
	}
	for range 1 << 13 {
		other = combine(other, block, 1<<20)
	}
	if eight != other || combine(combine(0, gigabyte, 1<<30), combine(0, eight, 8<<30), 8<<30) != combine(eight, gigabyte, 1<<30) {
		t.Errorf("8 GiB of zeros have the sums %08x and %08x", eight, other)
	}
}
