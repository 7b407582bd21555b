package gcs

import (
	"hash"
	"hash/crc32"
)

// newCRC is GCS's checksum. (The standard library makes the table for it once.)
func newCRC() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// combine is the crc32c of two pieces of content that follow each other, given theirs and the length of the second.
//
// A CRC is linear: appending n zero bytes to the first piece multiplies its sum by x^(8n) modulo the polynomial, and the second
// piece's sum is then added, which is XOR. The power is found by squaring.
func combine(first, second uint32, length int64) uint32 {
	power, square := uint32(1)<<31, uint32(1)<<(31-8) // 1 and x^8, in the reflected order of this CRC
	for n := length; n > 0; n >>= 1 {
		if n&1 == 1 {
			power = multiply(power, square)
		}
		square = multiply(square, square)
	}
	return multiply(first, power) ^ second
}

// multiply is a*b modulo the polynomial; bit 31 is x^0.
func multiply(a, b uint32) uint32 {
	product := uint32(0)
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		if b&1 == 1 {
			b = b>>1 ^ crc32.Castagnoli
		} else {
			b >>= 1
		}
	}
	return product
}
