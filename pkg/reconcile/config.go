package reconcile

import (
	"context"
	"io"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/guard"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/reconcile/plan"
	"github.com/bucketmesh/bucketmesh/pkg/state"
	"github.com/bucketmesh/bucketmesh/pkg/transfer"
	"github.com/bucketmesh/bucketmesh/pkg/version"
)

// Clock is time as the engine sees it.
type Clock interface {
	Now() time.Time
	WithDeadline(ctx context.Context, at time.Time) (context.Context, context.CancelFunc)
}

// WallClock is the machine's clock.
type WallClock struct{}

// Now implements Clock.
func (WallClock) Now() time.Time { return time.Now() }

// WithDeadline implements Clock.
func (WallClock) WithDeadline(ctx context.Context, at time.Time) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, at)
}

// Fanner streams one source to many destinations (*transfer.Copier).
type Fanner interface {
	Fan(ctx context.Context, body io.Reader, size int64, dests []transfer.Dest) (version.Content, []transfer.Result, error)
}

// Site is a replica with its bucket.
type Site struct {
	plan.Member
	Bucket driver.Bucket
}

// Announce makes an outbox event of a type of package event and its data (event.Sync or event.Conflict). ctx is that of the work
// which the event tells of: its trace is the event's.
type Announce func(ctx context.Context, typ string, data any) (state.OutboxEvent, error)

// Config is what an Engine is made of. Everything is handed in; the zero value of a duration or a count is its default.
type Config struct {
	Group    string
	Sites    []Site
	Store    state.Store
	Copier   Fanner
	Announce Announce
	Rule     func(key string) config.ConflictRule
	Judge    Judge // of the policy webhook; nil: the fallback decides at the deadline
	Deletes  bool  // propagate deletes

	Brake       *guard.Limits // of the delete brake; nil: there is none
	KeepExpired bool          // what a lifecycle rule removes at one replica stays at the others

	Quarantine time.Duration // how long what deletes take away is kept; 0 keeps nothing

	Clock Clock               // default: WallClock
	Nonce func() string       // unguessable and unique; default: 16 random bytes
	Run   func(fns ...func()) // runs all, returns when all are done; default: a goroutine each
	Owner string              // this process, for people who read intents
	Trace func(Point)         // told of every step; default: nothing

	Lease         time.Duration // of an intent for a small object; default 30 s
	Margin        time.Duration // requests end this long before their lease; default 5 s
	MinThroughput int64         // bytes per second that lengthen the lease of a large object; default 4 MiB/s
	Passes        int           // times around line 1 in one call; default 8
	BackoffMin    time.Duration // first delay of a key that could not be finished; default 2 s
	BackoffMax    time.Duration // default 5 min
	AskEvery      time.Duration // between the first questions to a webhook that has not decided; default 15 s
	LockWait      time.Duration // for another call on the same key in this process; default 2 s

	Mutant plan.Mutant // a seeded fault; only tests set it
}

// Point is a step of the algorithm as it happens, for traces, for the simulator's knowledge of the truth, and for tests that
// end the process there. It is told right before what the line does; "5c-answered" right after the answers to 5c.
type Point struct {
	Line    string // of docs/algorithm.md: 1, 2, 3, 4, 4a, 4b, 4c, 5a, 5b, 5c, 5c-answered, 5d, 5e, 6
	Key     string
	Replica string
	Version *version.Version
	Nonce   string
}
