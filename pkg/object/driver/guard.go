package driver

import "github.com/bucketmesh/bucketmesh/pkg/errkind"

// GuardOf is how a write's condition is to be kept, given how the bucket keeps each of the two. No condition is
// GuardNative: there is nothing to add. A condition that the bucket is not known to keep is refused as Unsupported: a
// server may take it and ignore it.
func GuardOf(p Precondition, match, notExist Guard) (Guard, error) {
	how, name := GuardNative, ""
	switch {
	case p.NotExist:
		how, name = notExist, "If-None-Match"
	case p.Match != "":
		how, name = match, "If-Match"
	}
	if how == GuardNone {
		return GuardNone, errkind.New(errkind.Unsupported, "the bucket is not known to keep %s on this write (probe it first)", name)
	}
	return how, nil
}
