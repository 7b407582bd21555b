package receive_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/receive"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

type nowhere struct{}

func (nowhere) Publish(context.Context, ...cloudevents.Event) error { return nil }

func (nowhere) Store(context.Context, []byte, string, string) error { return nil }

func TestHandlerIsWithinTheLimits(t *testing.T) {
	h, err := receive.S3(receive.Config{
		Group: &config.Group{Name: "media", Replicas: []config.Replica{
			{Name: "a", Provider: "s3", Bucket: "b", Endpoint: "http://127.0.0.1:1", Dialect: "minio"},
		}},
		Open: true, Sink: nowhere{}, DeadLetters: nowhere{},
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(body io.Reader) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, receive.Path(config.Replica{Name: "a", Provider: "s3"}), body))
		return w.Code
	}
	started, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range serve.DefaultConcurrency {
		wg.Go(func() { send(&stuck{started: started, release: release}) })
	}
	for range serve.DefaultConcurrency {
		<-started
	}
	if got := send(strings.NewReader("{}")); got != http.StatusTooManyRequests {
		t.Errorf("one sender too many: %d", got)
	}
	close(release)
	wg.Wait()
	if got := send(strings.NewReader("{}")); got != http.StatusOK {
		t.Errorf("when the others are gone: %d", got)
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
