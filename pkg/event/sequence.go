package event

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// sequenceDigits is the width of a normalized sequence: Azure's sequencers are the longest with 48 hex digits.
const sequenceDigits = 48

// HexSequence normalizes a sequencer that is one hexadecimal number (Amazon S3, MinIO, Azure): lower case, padded with
// zeros on the LEFT to 48 digits, so that the order of the strings is the order of the numbers. One provider uses
// several lengths (S3's records have 18 digits, its EventBridge events 16), which only left padding orders.
// "" means that there is no usable sequence: the consumer has to look at the bucket.
//
// Compare normalized sequences only within one source and subject. A tie says nothing: MinIO gives a tagging the
// sequencer of the put before it.
func HexSequence(raw string) string {
	if raw == "" || len(raw) > sequenceDigits {
		return ""
	}
	for i := range len(raw) {
		c := raw[i] | 0x20 // lower case; digits have the bit anyway
		if !('0' <= raw[i] && raw[i] <= '9') && !('a' <= c && c <= 'f') {
			return ""
		}
	}
	return strings.Repeat("0", sequenceDigits-len(raw)) + strings.ToLower(raw)
}

// PairSequence normalizes Ceph RGW's sequencer: seconds and nanoseconds, each 32 bits, LITTLE endian, in hexadecimal.
// As a string it is not in the order of time. The result compares like that of HexSequence; "" is as there.
func PairSequence(raw string) string {
	b, err := hex.DecodeString(raw)
	if err != nil || len(b) != 8 {
		return ""
	}
	var be [8]byte
	binary.BigEndian.PutUint32(be[:4], binary.LittleEndian.Uint32(b[:4]))
	binary.BigEndian.PutUint32(be[4:], binary.LittleEndian.Uint32(b[4:]))
	return HexSequence(hex.EncodeToString(be[:]))
}
