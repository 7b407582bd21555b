package errkind_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

func TestAfterKeepsKindCauseAndMessage(t *testing.T) {
	cause := errkind.New(errkind.Throttled, "put object: %w", io.ErrUnexpectedEOF)
	err := fmt.Errorf("copy: %w", errkind.After(3*time.Second, cause))
	if got := errkind.Delay(err); got != 3*time.Second {
		t.Errorf("Delay = %v, want 3s", got)
	}
	if got := errkind.Of(err); got != errkind.Throttled {
		t.Errorf("Of = %v, want throttled", got)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "copy: "+cause.Error(); got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestAfterOfNothing(t *testing.T) {
	if err := errkind.After(time.Second, nil); err != nil {
		t.Errorf("After of a nil error is %v", err)
	}
	if got := errkind.Delay(errkind.After(0, io.EOF)); got != 0 {
		t.Errorf("Delay = %v, want 0", got)
	}
	if got := errkind.Delay(nil); got != 0 {
		t.Errorf("Delay(nil) = %v, want 0", got)
	}
}
