package queue

import (
	"context"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Limits of one queue. The zero value of a field is its default.
type Limits struct {
	Messages   int           // under way at once; 32
	Bytes      int64         // of the messages under way at once; 32 MiB
	Handle     time.Duration // for one try to handle a message; 30 s
	Request    time.Duration // for one request to the queue, beside the time that a long poll waits; 10 s
	Visibility time.Duration // how long a message is hidden from others; 60 s. A process that died leaves it hidden for as long
	Wait       time.Duration // how long a long poll waits, and between looks at a stream; 20 s, which is the longest that SQS takes
	Idle       time.Duration // the longest pause between polls of an empty queue that has no long poll; 2 s
	Backoff    time.Duration // the first pause after a failure, of the queue or of the consumer; 1 s
	MaxBackoff time.Duration // the longest; 1 min
	Stop       time.Duration // for what is under way when the context ends; 20 s
	// Deliveries is how often a message may fail for reasons of its own before it is taken for one that can never work; 10.
	Deliveries int
}

// WithDefaults fills in the defaults, and checks that messages stay hidden for as long as they are handled: Handle and two
// requests (the fetch that began the time, and the acknowledgement) have to fit into Visibility. Errors: Invalid.
func (l Limits) WithDefaults() (Limits, error) {
	set(&l.Messages, 32)
	set(&l.Bytes, 32<<20)
	set(&l.Handle, 30*time.Second)
	set(&l.Request, 10*time.Second)
	set(&l.Visibility, time.Minute)
	set(&l.Wait, 20*time.Second)
	set(&l.Idle, 2*time.Second)
	set(&l.Backoff, time.Second)
	set(&l.MaxBackoff, time.Minute)
	set(&l.Stop, 20*time.Second)
	set(&l.Deliveries, 10)
	for _, v := range []int64{int64(l.Messages), l.Bytes, int64(l.Handle), int64(l.Request), int64(l.Visibility), int64(l.Wait),
		int64(l.Idle), int64(l.Backoff), int64(l.MaxBackoff), int64(l.Stop), int64(l.Deliveries)} {
		if v < 0 {
			return l, errkind.New(errkind.Invalid, "limits of a queue: none may be negative")
		}
	}
	switch {
	case l.Handle+2*l.Request > l.Visibility:
		return l, errkind.New(errkind.Invalid, "limits of a queue: a message is hidden for %s, and handling it may take %s and two requests of %s: "+
			"raise the visibility, or lower the others", l.Visibility, l.Handle, l.Request)
	case l.Visibility > 12*time.Hour:
		return l, errkind.New(errkind.Invalid, "limits of a queue: a visibility of %s: queues take 12 hours at most", l.Visibility)
	case l.Visibility%time.Second != 0 || l.Wait%time.Second != 0:
		return l, errkind.New(errkind.Invalid, "limits of a queue: visibility %s and wait %s must be whole seconds", l.Visibility, l.Wait)
	case l.Wait > 20*time.Second:
		return l, errkind.New(errkind.Invalid, "limits of a queue: a wait of %s: SQS takes 20 s at most", l.Wait)
	case l.Backoff > l.MaxBackoff:
		return l, errkind.New(errkind.Invalid, "limits of a queue: the first pause %s is longer than the longest, %s", l.Backoff, l.MaxBackoff)
	}
	return l, nil
}

func set[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Outlive is a context that ends d after ctx does.
func Outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, cancel
}
