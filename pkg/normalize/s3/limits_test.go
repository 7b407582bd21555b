package s3_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

func TestBodyThatNeverEndsIsGivenUpAfterTheTimeout(t *testing.T) {
	h, _ := newHandler(t, nil, func(c *s3.HandlerConfig) { c.Timeout = 50 * time.Millisecond })
	server := httptest.NewServer(h)
	defer server.Close()
	body, feed := io.Pipe()
	defer feed.Close()                                              // never written to
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // far more than it takes
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/s3/us", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(bearer[0], bearer[1])
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503", answer.StatusCode)
	}
}

func TestStrangersMaySendLessThanKnownSenders(t *testing.T) {
	h, _ := newHandler(t, newAWS(t))
	body := bytes.Repeat([]byte(" "), 600<<10)
	if got := post(t, h, "/s3/us", body); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a stranger: %d", got)
	}
	if got := post(t, h, "/s3/us", body, bearer...); got != http.StatusOK {
		t.Errorf("a known sender: %d", got)
	}
}

func TestStrangersDoNotLockOutKnownSenders(t *testing.T) {
	h, _ := newHandler(t, newAWS(t))
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/s3/us", &stuck{started: started, release: release})
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	for range 16 {
		<-started
	}
	if got := post(t, h, "/s3/us", []byte("{}")); got != http.StatusTooManyRequests {
		t.Errorf("one stranger too many: %d", got)
	}
	if got := post(t, h, "/s3/us", records(rec{key: "k"}), bearer...); got != http.StatusOK {
		t.Errorf("a known sender: %d", got)
	}
	close(release)
	wg.Wait()
	if got := post(t, h, "/s3/us", []byte("{}")); got != http.StatusUnauthorized {
		t.Errorf("a stranger when the others are gone: %d", got)
	}
}

// stuck is a body that ends when it is released.
type stuck struct {
	started, release chan struct{}
	once             sync.Once
}

func (s *stuck) Read([]byte) (int, error) {
	s.once.Do(func() { s.started <- struct{}{} })
	<-s.release
	return 0, io.EOF
}
