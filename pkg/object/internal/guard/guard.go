// Package guard stands in for a provider that ignores If-Match on DELETE (MinIO) but keeps versions: delete first, look at
// what the delete marker covers, and take the marker back if that isn't what the caller meant.
//
// Errors: PreconditionFailed when the marker was taken back; Unavailable when the outcome is unknown. Concurrency: Delete
// holds no state; any number may run on one key, and at most one of them keeps its marker over a given version.
package guard

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// undoTimeout bounds taking a marker back after the caller's own context ended: a marker that was never checked must not
// stay because somebody stopped waiting.
const undoTimeout = 30 * time.Second

// Raw is the provider's own behaviour, without conditions.
type Raw struct {
	Delete   func(ctx context.Context) (*driver.Attrs, error)                   // makes a delete marker
	Remove   func(ctx context.Context, versionID string) (*driver.Attrs, error) // removes one version for good
	Versions func(ctx context.Context) ([]driver.Attrs, error)                  // newest first
}

// Delete deletes the current version if it is the one that want names.
//
// What remains of the provider's gap: between the delete and the check, readers see no object; and a process that dies
// there leaves a marker over a version that nobody checked. The version is not lost, it is below the marker; whoever finds
// the marker later must look below it before concluding anything (object.Predecessor).
func Delete(ctx context.Context, want driver.Precondition, raw Raw) (*driver.Attrs, error) {
	ours, err := raw.Delete(ctx)
	if err != nil {
		return nil, err
	}
	if !ours.DeleteMarker || ours.VersionID == "" {
		// Versioning was switched off or suspended since the probe: there is no marker of ours to take back.
		return nil, errkind.New(errkind.Unavailable, "the delete made no marker with a version: is versioning still on?")
	}
	below, err := predecessor(ctx, ours.VersionID, raw)
	if err != nil {
		if uerr := undo(ctx, ours.VersionID, raw); uerr != nil {
			return nil, uerr
		}
		return nil, errkind.New(errkind.Unavailable, "check what the delete marker covers: %w", err)
	}
	if matches(below, want) {
		return ours, nil
	}
	if err := undo(ctx, ours.VersionID, raw); err != nil {
		return nil, err
	}
	return nil, errkind.New(errkind.PreconditionFailed, "the current version is not the expected one; the delete was taken back")
}

func matches(below *driver.Attrs, want driver.Precondition) bool {
	switch {
	case below == nil || below.DeleteMarker:
		return false // the key was absent already: nothing that the condition could have named
	case want.VersionID != "":
		return below.VersionID == want.VersionID
	}
	return below.Tag == want.Match
}

// predecessor is the version right below ours; nil if there is none.
func predecessor(ctx context.Context, ours string, raw Raw) (*driver.Attrs, error) {
	all, err := raw.Versions(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].VersionID != ours {
			continue
		}
		if i+1 == len(all) {
			return nil, nil
		}
		return &all[i+1], nil
	}
	return nil, errkind.New(errkind.Unavailable, "the delete marker %s is not in the listing of versions", ours)
}

func undo(ctx context.Context, marker string, raw Raw) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if _, err := raw.Remove(ctx, marker); err != nil {
		return errkind.New(errkind.Unavailable, "take back delete marker %s, which may cover an unseen version: %w", marker, err)
	}
	return nil
}
