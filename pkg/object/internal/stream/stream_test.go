package stream_test

import (
	"crypto/md5" //nolint:gosec // an S3 ETag is an MD5
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/stream"
)

// stuck is a body whose server says nothing until the request ends.
type stuck struct{ w *stream.Watch }

func (s stuck) Read([]byte) (int, error) {
	<-s.w.Context().Done()
	return 0, s.w.Context().Err()
}

// TestIdleTimeoutCountsTheServersSilenceOnly: a reader that is busy elsewhere for long keeps its body.
func TestIdleTimeoutCountsTheServersSilenceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := stream.NewWatch(t.Context(), time.Second)
		w.Answered()
		b := stream.NewBody(io.NopCloser(io.MultiReader(strings.NewReader("a"), strings.NewReader("b"), stuck{w})), 3, w, time.Second)
		p := make([]byte, 1)
		for range 2 {
			if _, err := b.Read(p); err != nil {
				t.Fatalf("read: %v", err)
			}
			<-time.After(time.Hour) // of the bubble's own clock
		}
		start := time.Now()
		if _, err := b.Read(p); !errkind.Is(err, errkind.Unavailable) || time.Since(start) != time.Second {
			t.Errorf("a silent server: %v (kind %s) after %v", err, errkind.Of(err), time.Since(start))
		}
		_ = b.Close()
	})
}

// TestAnotherLengthThanAnnounced: not every transport notices it (a proxy can end a chunked body in order).
func TestAnotherLengthThanAnnounced(t *testing.T) {
	for content, announced := range map[string]int64{"short": 10, "much too long": 4} {
		w := stream.NewWatch(t.Context(), time.Hour)
		b := stream.NewBody(io.NopCloser(strings.NewReader(content)), announced, w, time.Hour)
		if data, err := io.ReadAll(b); string(data) != content || !errkind.Is(err, errkind.Unavailable) {
			t.Errorf("read %q, %v (kind %s), want unavailable", data, err, errkind.Of(err))
		}
		_ = b.Close()
	}
}

// TestBytesOfAnotherETagAreRefused: a server that reads an object's attributes apart from its bytes can give new bytes under
// an old ETag. Copied under the old one's name they would pass for what was overwritten.
func TestBytesOfAnotherETagAreRefused(t *testing.T) {
	want, err := hex.DecodeString("5d41402abc4b2a76b9719d911017c592")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, bytes string
		want        errkind.Kind
	}{
		{"the ETag's bytes", "hello", errkind.Unknown},
		{"other bytes of the same length", "jello", errkind.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := stream.NewWatch(t.Context(), time.Hour)
			b := stream.NewBody(io.NopCloser(strings.NewReader(tc.bytes)), 5, w, time.Hour)
			b.Vouch(md5.New(), want, "ETag") //nolint:gosec // an S3 ETag is an MD5
			_, err := io.ReadAll(b)
			if (err == nil) != (tc.want == errkind.Unknown) || err != nil && !errkind.Is(err, tc.want) {
				t.Errorf("read: %v (kind %s)", err, errkind.Of(err))
			}
			_ = b.Close()
		})
	}
}
