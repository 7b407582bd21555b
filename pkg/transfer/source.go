package transfer

import (
	"context"
	"crypto/md5" // the digest that providers vouch for, not a defence
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/time/rate"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

const (
	// readChunk is how much is read between two looks at the context and at the rate limit, in bytes.
	readChunk = 256 << 10
	// hashApart is from how many bytes on the two digests are worth a goroutine each, as together they are slower than
	// a good network.
	hashApart = 64 << 10
)

// source is the stream that is copied. It hashes what was read, once for all destinations.
type source struct {
	body  io.Reader
	limit *rate.Limiter
	size  int64 // expected
	read  int64
	md5   hash.Hash
	sha   hash.Hash
	run   func(fns ...func())
}

func (c *Copier) source(body io.Reader, size int64) *source {
	return &source{body: body, limit: c.rate, size: size, md5: md5.New(), sha: sha256.New(), run: c.cfg.Run}
}

// fill reads exactly len(b) bytes.
func (s *source) fill(ctx context.Context, b []byte) error {
	chunk := readChunk
	if s.limit != nil {
		chunk = s.limit.Burst()
	}
	for rest := b; len(rest) > 0; {
		if ctx.Err() != nil {
			return fmt.Errorf("read source: %w", context.Cause(ctx))
		}
		n := min(len(rest), chunk)
		if s.limit != nil {
			if err := s.limit.WaitN(ctx, n); err != nil {
				return errkind.New(waitKind(ctx), "wait for bandwidth: %w", err)
			}
		}
		got, err := io.ReadFull(s.body, rest[:n])
		s.read += int64(got)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errkind.New(errkind.Unavailable, "read source: %d bytes instead of %d: %w", s.read, s.size, io.ErrUnexpectedEOF)
		case err != nil:
			return fmt.Errorf("read source: %w", err)
		}
		rest = rest[n:]
	}
	if len(b) < hashApart {
		s.md5.Write(b)
		s.sha.Write(b)
		return nil
	}
	s.run(func() { s.md5.Write(b) }, func() { s.sha.Write(b) })
	return nil
}

// waitKind tells a caller that gave up from a wait that would have ended after the deadline, for which package rate
// has an error of its own.
func waitKind(ctx context.Context) errkind.Kind {
	if errors.Is(ctx.Err(), context.Canceled) {
		return errkind.Canceled
	}
	return errkind.Unavailable
}

// end checks that nothing follows. Reading the end matters for a body that verifies a checksum there.
func (s *source) end(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("read source: %w", context.Cause(ctx))
	}
	var one [1]byte
	_, err := io.ReadFull(s.body, one[:])
	switch {
	case err == nil:
		// The object is not the one that the caller was told of: look again.
		return errkind.New(errkind.Conflict, "read source: it is longer than %d bytes", s.size)
	case errors.Is(err, io.EOF):
		return nil
	}
	return fmt.Errorf("read source: %w", err)
}

// content is what was read, after the end.
func (s *source) content() version.Content {
	return version.Content{Size: s.read, MD5: hex.EncodeToString(s.md5.Sum(nil)), SHA256: hex.EncodeToString(s.sha.Sum(nil))}
}
