package driver

import (
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// BadKey is the cause of an error of kind Invalid that says that no object of the bucket can have the key, whatever its content.
// So there is none: who looks for one may take that for an answer, if nothing says that there was one before.
type BadKey struct{ Why string }

// Error implements error.
func (e *BadKey) Error() string { return e.Why }

// RefuseKey makes an error of a bad key; the text says the key, why and the mend.
func RefuseKey(format string, args ...any) error {
	return errkind.New(errkind.Invalid, "%w", &BadKey{fmt.Sprintf(format, args...)})
}
