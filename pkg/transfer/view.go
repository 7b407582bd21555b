package transfer

import (
	"bytes"
	"io"
	"sync"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// view lets one request read a shared buffer until the request is over. An HTTP transport may go on reading a body
// after its call has returned (it was cancelled, or the server answered early); without the lock it could send the
// bytes of the next object that uses the buffer.
type view struct {
	mu sync.Mutex
	r  *bytes.Reader // nil once revoked
}

func newView(b []byte) *view { return &view{r: bytes.NewReader(b)} }

// revoke ends the view; no read is under way when it returns.
func (v *view) revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.r = nil
}

// Read implements io.Reader.
func (v *view) Read(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.r == nil {
		return 0, errRevoked()
	}
	return v.r.Read(p)
}

// Seek implements io.Seeker.
func (v *view) Seek(offset int64, whence int) (int64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.r == nil {
		return 0, errRevoked()
	}
	return v.r.Seek(offset, whence)
}

// Len is the number of unread bytes; HTTP clients look for it.
func (v *view) Len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.r == nil {
		return 0
	}
	return v.r.Len()
}

func errRevoked() error {
	return errkind.New(errkind.Canceled, "read body: the request is over")
}

var _ io.ReadSeeker = (*view)(nil)
