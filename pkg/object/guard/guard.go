// Package guard stands in for a provider that ignores a write's condition but keeps versions (MinIO and If-Match on
// DELETE): write first, look at what the new version or delete marker covers, and take it back if that isn't what the
// caller meant.
//
// Errors: PreconditionFailed when the write was taken back; Conflict when somebody else took it back; Unavailable when the outcome is unknown. Concurrency: Write
// holds no state; any number may run on one key, and at most one of them keeps its version over a given predecessor.
package guard

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// undoTimeout bounds taking a write back after the caller's own context ended: what was never checked must not
// stay because somebody stopped waiting.
const undoTimeout = 30 * time.Second

// Raw is the provider's own behaviour, without conditions.
type Raw struct {
	Stat     func(ctx context.Context) (*driver.Attrs, error)                   // of the current version
	Write    func(ctx context.Context) (*driver.Attrs, error)                   // makes a version or a delete marker
	Remove   func(ctx context.Context, versionID string) (*driver.Attrs, error) // removes one version for good
	Versions func(ctx context.Context) ([]driver.Attrs, error)                  // newest first
}

// Write writes if the current version is the one that want names.
//
// It looks first: a condition that fails already must not make users see a write that is then taken back, and MinIO
// answers a delete of what is deleted already with the marker that is there, which is somebody else's.
//
// What remains of the provider's gap: between the write and the check, readers see our write. A process that dies there
// leaves a version or marker over a version that nobody checked; that one is not lost, it is below, and whoever finds
// ours later must look below it before concluding anything (object.Predecessor). And on MinIO, a user whose delete lands on
// a marker of ours that is then taken back sees the object again.
func Write(ctx context.Context, want driver.Precondition, raw Raw) (*driver.Attrs, error) {
	cur, err := raw.Stat(ctx)
	if err != nil && !errkind.Is(err, errkind.NotFound) {
		return nil, err
	}
	if err != nil {
		cur = nil
	}
	if !matches(cur, want) {
		return nil, errkind.New(errkind.PreconditionFailed, "the current version is not the expected one")
	}
	ours, err := raw.Write(ctx)
	if err != nil {
		return nil, err
	}
	if ours.VersionID == "" {
		// Versioning was switched off or suspended since the probe: there is nothing of ours to take back.
		return nil, errkind.New(errkind.Unavailable, "the write made no version: is versioning still on?")
	}
	below, err := predecessor(ctx, ours.VersionID, raw)
	if err != nil {
		if uerr := undo(ctx, ours.VersionID, raw); uerr != nil {
			return nil, uerr
		}
		kind := errkind.Unavailable
		if errkind.Is(err, errkind.Conflict) {
			kind = errkind.Conflict
		}
		return nil, errkind.New(kind, "check what the write covers: %w", err)
	}
	if matches(below, want) {
		return ours, nil
	}
	if err := undo(ctx, ours.VersionID, raw); err != nil {
		return nil, err
	}
	return nil, errkind.New(errkind.PreconditionFailed, "the current version is not the expected one; the write was taken back")
}

func matches(below *driver.Attrs, want driver.Precondition) bool {
	absent := below == nil || below.DeleteMarker
	switch {
	case want.NotExist || absent:
		return want.NotExist && absent
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
	// Where deletes at once share one marker, another one of them took it back already.
	return nil, errkind.New(errkind.Conflict, "our version %s is not in the listing of versions", ours)
}

// undo takes a write back, also when the caller stopped waiting, but not after the caller's deadline: from then on others may have taken
// the write for one that stays, and would take its disappearance for a delete by a user.
func undo(ctx context.Context, ours string, raw Raw) error {
	until, bounded := ctx.Deadline()
	if !bounded {
		until = time.Now().Add(undoTimeout)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
	if _, err := raw.Remove(ctx, ours); err != nil {
		return errkind.New(errkind.Unavailable, "take back version %s, which may cover an unseen one: %w", ours, err)
	}
	return nil
}
