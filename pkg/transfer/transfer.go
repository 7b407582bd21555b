// Package transfer moves bytes: one source stream is read once, hashed once and sent to several buckets at the same
// time, while the memory that all copies together may buffer is bounded by configuration.
//
// A small object (up to Config.PartSize) is one conditional Put per destination. A larger one is a multipart upload per
// destination, with several parts in flight; its precondition is enforced by Complete. Nothing becomes visible
// anywhere before the source was read to its end and found to have the expected length. The destinations advance
// together: a slow one holds the others back (the alternative is unbounded memory), a failed one is dropped and its
// upload aborted.
//
// Errors: those of a source or a bucket are wrapped and keep their errkind.Kind. Conditional requests (Put, Complete)
// are never tried again here, because a retried success looks like a lost race; parts, which carry no condition, are.
//
// Concurrency: a Copier may be used by many goroutines; its limits hold for all of them together. No goroutine
// outlives the call of Fan that started it.
package transfer

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Defaults of a Config.
const (
	DefaultPartSize     int64 = 16 << 20
	DefaultParallel           = 4
	DefaultAttempts           = 4
	DefaultRetryDelay         = 200 * time.Millisecond
	DefaultAbortTimeout       = 30 * time.Second

	// defaultMemoryParts is the default of Config.Memory, in parts.
	defaultMemoryParts = 8
)

// Config holds the limits of a Copier. The zero value of a field is its default.
type Config struct {
	// PartSize is the largest object that is sent in one Put, and the size of the parts of larger ones, in bytes
	// (default 16 MiB). Parts are larger where a destination's MinPart or MaxParts demands it.
	PartSize int64
	// Parallel is how many parts of one object are in flight at once (default 4); the one that is being read counts.
	Parallel int
	// Memory bounds the bytes that all copies of this Copier together may buffer, buffers kept for reuse included
	// (default 8*PartSize). A copy that finds no memory waits for its turn, first come first served. It is at least
	// one part: an object whose parts would be larger is refused with a kind of Invalid.
	Memory int64
	// Bandwidth bounds what is read from sources by all copies together, in bytes per second; 0 is unlimited. Each byte
	// that was read is sent once to every destination.
	Bandwidth int64
	// Run runs all functions and returns when all are done; nil starts a goroutine for each. One that runs them in
	// order makes a Copier deterministic: it calls its destinations in the order given, one part at a time.
	Run func(fns ...func())

	// Attempts is how often one part is tried (default 4).
	Attempts int
	// RetryDelay is the pause before the second attempt of a part, which grows exponentially (default 200 ms).
	RetryDelay time.Duration
	// AbortTimeout bounds the abort of one upload, which is done even when the caller has given up (default 30 s).
	AbortTimeout time.Duration
}

// Dest is one destination of a copy.
type Dest struct {
	// Bucket is asserted to be a driver.Multiparter when the object is larger than one part or than its MaxPut.
	Bucket driver.Bucket
	Key    string
	// Put holds the Properties and the precondition; size and digests are filled in by Fan.
	Put driver.PutOptions
	// Started, if not nil, is called when a multipart upload was begun, so that the caller can remember it for a
	// sweeper that aborts what a crash left behind. An error aborts this destination.
	Started func(ctx context.Context, uploadID string) error
	// Finish, if not nil, is called right before the conditional request (Put or Complete): the caller renews or checks
	// its lease. An error gives up this destination before anything is visible there.
	Finish func(ctx context.Context) error
}

// Result is the outcome at one destination.
type Result struct {
	Attrs *driver.Attrs // the answer of the bucket; nil if Err is not
	Err   error
	// Sent says that the conditional request went out: with an Err of kind Unavailable, Unknown or Canceled the outcome
	// is unknown, and only a look at the bucket tells.
	Sent bool
}

// Copier copies objects within its limits.
type Copier struct {
	cfg    Config
	inline bool // Config.Run was given: start no goroutines
	pool   *pool
	rate   *rate.Limiter // nil is unlimited
}

// New makes a Copier, or returns an error of kind Invalid that names the impossible limit.
func New(cfg Config) (*Copier, error) {
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"part size", cfg.PartSize},
		{"parallel", int64(cfg.Parallel)},
		{"memory", cfg.Memory},
		{"bandwidth", cfg.Bandwidth},
		{"attempts", int64(cfg.Attempts)},
		{"retry delay", int64(cfg.RetryDelay)},
		{"abort timeout", int64(cfg.AbortTimeout)},
	} {
		if limit.value < 0 {
			return nil, errkind.New(errkind.Invalid, "make copier: %s is negative: %d", limit.name, limit.value)
		}
	}
	inline := cfg.Run != nil
	cfg.PartSize = cmp.Or(cfg.PartSize, DefaultPartSize)
	cfg.Parallel = cmp.Or(cfg.Parallel, DefaultParallel)
	cfg.Memory = cmp.Or(cfg.Memory, defaultMemoryParts*cfg.PartSize)
	cfg.Attempts = cmp.Or(cfg.Attempts, DefaultAttempts)
	cfg.RetryDelay = cmp.Or(cfg.RetryDelay, DefaultRetryDelay)
	cfg.AbortTimeout = cmp.Or(cfg.AbortTimeout, DefaultAbortTimeout)
	if cfg.Memory < cfg.PartSize {
		return nil, errkind.New(errkind.Invalid, "make copier: memory of %d bytes does not hold one part of %d bytes", cfg.Memory, cfg.PartSize)
	}
	if !inline {
		cfg.Run = goAll
	}
	c := &Copier{cfg: cfg, inline: inline, pool: newPool(cfg.Memory)}
	if cfg.Bandwidth > 0 {
		c.rate = rate.NewLimiter(rate.Limit(cfg.Bandwidth), int(min(cfg.Bandwidth, readChunk)))
	}
	return c, nil
}
