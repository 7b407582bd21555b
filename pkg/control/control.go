// Package control is how the command line talks to a process that works on a data directory: JSON over HTTP on a Unix
// socket in that directory, which only its owner can open. Server serves what an API can do; Client is the same API, at
// the other end.
//
// Errors keep their kind and their text on the way. ErrNobody means that no process serves the socket.
//
// Concurrency: Server and Client may be used from many goroutines.
package control

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile"
	"github.com/bucketmesh/bucketmesh/pkg/scan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/version"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
)

// API is what can be asked of a process that works on a group (*pipeline.Pipeline).
type API interface {
	Status(ctx context.Context) (pipeline.Status, error)
	Backfill(ctx context.Context, progress func(scan.Progress)) (scan.Progress, error)
	DeadLetters(ctx context.Context, limit int) ([]deadletter.Letter, error)
	DeadLetter(ctx context.Context, id string) (deadletter.Letter, error)
	Replay(ctx context.Context, ids ...string) (int, error)
	Drop(ctx context.Context, ids ...string) (int, error)

	Choose(ctx context.Context, id string, c reconcile.Choice) (state.Conflict, error)
	Restore(ctx context.Context, id string, lost version.ID) (reconcile.Restored, error)
	Sides(ctx context.Context, id string, limit int64) (reconcile.Sides, error)
	Try(ctx context.Context, key string) (reconcile.Proposal, error)
	Brake(ctx context.Context, r pipeline.BrakeRequest, progress func(worker.Done)) (pipeline.Brake, error)
	Undelete(ctx context.Context, s worker.Select, progress func(worker.Done)) (pipeline.UndeleteResult, error)
}

var (
	_ API = (*pipeline.Pipeline)(nil)
	_ API = (*Client)(nil)
)

// Paths of the API.
const (
	pathStatus      = "/v1/status"
	pathBackfill    = "/v1/backfill"
	pathDeadLetters = "/v1/dead-letters"
	pathDeadLetter  = "/v1/dead-letter"
	pathReplay      = "/v1/dead-letters/replay"
	pathDrop        = "/v1/dead-letters/drop"
	pathChoose      = "/v1/conflicts/choose"
	pathRestore     = "/v1/conflicts/restore"
	pathSides       = "/v1/conflicts/sides"
	pathTry         = "/v1/conflicts/try"
	pathBrake       = "/v1/brake"
	pathUndelete    = "/v1/undelete"
)

// failure is an error on its way.
type failure struct {
	Kind    errkind.Kind `json:"kind"`
	Message string       `json:"message"`
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	return &failure{Kind: errkind.Of(err), Message: err.Error()}
}

func (f *failure) err() error {
	if f == nil {
		return nil
	}
	return errkind.New(f.Kind, "%s", f.Message)
}

// line is one line of the answer to something that takes its time: its progress, and at the end its result.
type line[P, R any] struct {
	Progress *P       `json:"progress,omitempty"`
	Result   *R       `json:"result,omitempty"` // of the last line
	Error    *failure `json:"error,omitempty"`
}

// letters are those that something is done with, and letterCount how many it was done with.
type letters struct {
	IDs []string `json:"ids"` // none: all that can be replayed
}

type letterCount struct {
	Done  int      `json:"done"`
	Error *failure `json:"error,omitempty"`
}

// chooseRequest, restoreRequest, sidesRequest and tryRequest are the arguments of the methods of the same names.
type (
	chooseRequest struct {
		ID     string           `json:"id"`
		Choice reconcile.Choice `json:"choice"`
	}
	restoreRequest struct {
		ID      string     `json:"id"`
		Version version.ID `json:"version"`
	}
	sidesRequest struct {
		ID    string `json:"id"`
		Limit int64  `json:"limit"`
	}
	tryRequest struct {
		Key []byte `json:"key"` // any bytes
	}
)
