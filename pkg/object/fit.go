package object

import (
	"context"
	"fmt"
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Fit says whether a probed bucket can hold its mode. The error is errkind.Invalid and names what is missing and the
// mend. A ReadOnly replica (users don't write there) can be any bucket. acceptLossWindow is the operator's word that a
// write which lands between our look and our write may be lost; it doesn't help a bucket on which the algorithm
// can't work at all.
func Fit(r Report, readWrite, acceptLossWindow bool) error {
	if !readWrite {
		return nil
	}
	if r.MarkerBlocksCreate {
		return errkind.New(errkind.Invalid, "check bucket for mode ReadWrite: If-None-Match:* fails over a delete marker, so a deleted "+
			"key could never be written again; switch versioning off in this bucket, or make the replica ReadOnly")
	}
	c := r.Capabilities
	var broken []string
	for _, g := range []struct {
		guard driver.Guard
		name  string
	}{
		{c.PutNotExist, "If-None-Match on put"},
		{c.PutMatch, "If-Match on put"},
		{c.CompleteGuard, "conditions on completing a multipart upload"},
		{c.DeleteGuard, "If-Match on delete"},
		{c.ReadMatch, "If-Match on reads"},
	} {
		if g.guard == driver.GuardNone {
			broken = append(broken, g.name)
		}
	}
	if len(broken) == 0 || acceptLossWindow {
		return nil
	}
	mend := "use a bucket that keeps it, make the replica ReadOnly, or set acceptLossWindow: true"
	if !c.Versioned {
		mend = "switch versioning on, " + mend
	}
	return errkind.New(errkind.Invalid, "check bucket for mode ReadWrite: it does not keep %s (level %s), so a write that nobody saw could "+
		"be lost; %s", strings.Join(broken, ", "), c.Level, mend)
}

// Predecessor is the version right below versionID; nil if there is none below. On a versioned bucket it tells what a
// write of ours really replaced: an answer that isn't the version which the write expected has to be recovered. It is
// NotFound if versionID is not among the versions.
func Predecessor(ctx context.Context, v driver.Versioner, key, versionID string) (*driver.Attrs, error) {
	all, err := v.Versions(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("find predecessor: %w", err)
	}
	for i := range all {
		if all[i].VersionID == versionID {
			if i+1 < len(all) {
				return &all[i+1], nil
			}
			return nil, nil
		}
	}
	return nil, errkind.New(errkind.NotFound, "find predecessor: version %q of %q is not there", versionID, key)
}
