package register

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Options of Record.
type Options struct {
	Prefix  string // of the keys, which must not be there yet
	Seed    uint64
	Clients int
	Keys    int
	Ops     int  // of each client
	Deletes bool // conditional deletes, too
	Plain   bool // puts without a condition, too
}

// recorder is a run of concurrent clients.
type recorder struct {
	Options
	bucket driver.Bucket
	began  time.Time
	value  atomic.Int64 // the last one that was written

	mu      sync.Mutex
	history History
}

// Record has concurrent clients use a bucket, which must keep conditions, and notes down what each was told.
func Record(ctx context.Context, b driver.Bucket, o Options) (History, error) {
	r := &recorder{Options: o, bucket: b, began: time.Now()}
	g, ctx := errgroup.WithContext(ctx)
	start := make(chan struct{})
	for n := range o.Clients {
		c := &client{
			recorder: r, number: n, rand: rand.New(rand.NewPCG(o.Seed, uint64(n))), known: map[string]known{},
		}
		g.Go(func() error {
			<-start
			return c.work(ctx)
		})
	}
	close(start)
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("record history: %w", err)
	}
	return r.history, nil
}

// known is what a client believes that a key holds. It may be long out of date: that is what conditions are for.
type known struct {
	value int
	tag   string
	wrong bool // a condition has shown that it holds something else
}

// client is one of the users of a bucket, one request after the other.
type client struct {
	*recorder
	number int
	rand   *rand.Rand
	known  map[string]known
	failed error // the last request whose answer is unknown
}

func (c *client) work(ctx context.Context) error {
	answered := 0
	for range c.Ops {
		op := c.request(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if op.Output.Answer != Unknown {
			answered++
		}
		c.mu.Lock()
		c.history = append(c.history, op)
		c.mu.Unlock()
	}
	if answered < c.Ops/2 {
		return errkind.New(errkind.Unavailable, "only %d of %d requests of client %d were answered: %w", answered, c.Ops, c.number, c.failed)
	}
	return nil
}

// request draws a request and sends it.
func (c *client) request(ctx context.Context) Operation {
	in := Input{Key: fmt.Sprintf("%skey-%d", c.Prefix, c.rand.IntN(c.Keys))}
	k := c.known[in.Key]
	switch n := c.rand.IntN(100); {
	case n < 25 || k.wrong:
		in.Kind = Read
	case n < 30 && c.Plain:
		in.Kind = Put
	case n < 45 || k.value == Absent:
		in.Kind = Create
	case n < 60 && c.Deletes:
		in.Kind, in.Old = Remove, k.value
	default:
		in.Kind, in.Old = Swap, k.value
	}
	if in.Kind != Read && in.Kind != Remove {
		in.New = int(c.value.Add(1))
	}
	if in.Kind != Read && c.rand.IntN(20) == 0 { // a client that gives up: nobody knows what becomes of its request
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.rand.IntN(4000))*time.Microsecond)
		defer cancel()
	}
	op := Operation{Client: c.number, Input: in, Call: time.Since(c.began).Nanoseconds()}
	var found known
	op.Output, found = c.send(ctx, in, k.tag)
	op.Return = time.Since(c.began).Nanoseconds()
	c.learn(in, op.Output, found)
	return op
}

// learn keeps what an answer told of a key.
func (c *client) learn(in Input, out Output, found known) {
	switch out.Answer {
	case Done:
		c.known[in.Key] = found
	case Refused:
		c.known[in.Key] = known{wrong: true}
	case Unknown:
	}
}

func (c *client) send(ctx context.Context, in Input, tag string) (Output, known) {
	var attrs *driver.Attrs
	var err error
	switch in.Kind {
	case Read:
		return c.read(ctx, in.Key)
	case Remove:
		_, err = c.bucket.Delete(ctx, in.Key, &driver.DeleteOptions{If: driver.Precondition{Match: tag}})
		return c.answer(err), known{}
	case Put:
		attrs, err = c.write(ctx, in, driver.Precondition{})
	case Create:
		attrs, err = c.write(ctx, in, driver.Precondition{NotExist: true})
	case Swap:
		attrs, err = c.write(ctx, in, driver.Precondition{Match: tag})
	}
	if err != nil {
		return c.answer(err), known{}
	}
	return Output{Answer: Done}, known{value: in.New, tag: attrs.Tag}
}

func (c *client) write(ctx context.Context, in Input, p driver.Precondition) (*driver.Attrs, error) {
	body := fmt.Sprintf("%s=%d\n", in.Key, in.New)
	return c.bucket.Put(ctx, in.Key, strings.NewReader(body), &driver.PutOptions{
		Properties: driver.Properties{ContentType: "text/plain"}, Size: int64(len(body)), If: p,
	})
}

func (c *client) read(ctx context.Context, key string) (Output, known) {
	body, attrs, err := c.bucket.Open(ctx, key, nil)
	if errkind.Is(err, errkind.NotFound) {
		return Output{Answer: Done, Value: Absent}, known{}
	}
	if err != nil {
		return c.unknown(err), known{}
	}
	text, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return c.unknown(err), known{}
	}
	value := -1 // bytes that nobody wrote: no order explains them
	if _, err := fmt.Sscanf(strings.TrimPrefix(string(text), key), "=%d\n", &value); err != nil {
		value = -1
	}
	return Output{Answer: Done, Value: value}, known{value: value, tag: attrs.Tag}
}

// answer is what a write was told. Only a condition that did not hold is a no; all other errors leave it open.
func (c *client) answer(err error) Output {
	if err == nil {
		return Output{Answer: Done}
	}
	switch errkind.Of(err) {
	case errkind.PreconditionFailed, errkind.NotFound:
		return Output{Answer: Refused}
	}
	return c.unknown(err)
}

func (c *client) unknown(err error) Output {
	c.failed = err
	return Output{Answer: Unknown}
}
