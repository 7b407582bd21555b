// Package queue is what the puller and the clients of providers' queues agree on: a Source gives messages to a Consumer,
// and takes one out of the queue only after the consumer is done with it. Poller is the loop of those queues that are
// asked for messages; a library that has a loop of its own is a Source by itself.
//
// A message is left in the queue, and comes again, whatever goes wrong: the consumer's error, its death, an answer of the
// queue that was lost. So the same message can come more than once.
//
// Errors: kinds of package errkind. What a person has to mend (a queue that is not there, credentials that are not right,
// a queue that can't work) is NotFound, PermissionDenied or Invalid; what time may mend is Unavailable or Throttled.
//
// Concurrency: a Consumer is called from many goroutines, at most Limits.Messages at once for a source. A Source has one
// Receive at a time.
package queue

import (
	"context"
	"time"
)

// Message is what a queue holds.
type Message struct {
	ID         string // the queue's; it says nothing about the change, and differs between deliveries of one
	Body       []byte
	Attributes map[string]string // of Pub/Sub
	Sent       time.Time         // when the queue took it; zero if it doesn't say
	Deliveries int               // how many times it was given out, this one included; 0 is unknown
}

// Consumer takes the messages of a source. All of its functions are required.
type Consumer struct {
	// Handle takes a message. Only after it returned nil is the message taken out of the queue. Its context outlives the
	// one of Receive by Limits.Stop, so that what was begun can be finished.
	Handle func(context.Context, Message) error
	// Settled is told how it ended: nil if the message is out of the queue, else why it will come again.
	Settled func(context.Context, Message, error)
	// Seen is told of every answer of the queue: nil if it works, else its trouble.
	Seen func(error)
}

// Source is a queue of a provider.
type Source interface {
	// Check says whether the queue is there, may be read, and keeps what is sent to it. Errors name the mend.
	Check(ctx context.Context) error
	// Receive gives messages to the consumer until ctx ends, finishes what is under way within Limits.Stop, and returns
	// nil then. It returns an error if it can't go on; it may be called again.
	Receive(ctx context.Context, c Consumer) error
	// Close ends the connections. Nothing may be under way.
	Close() error
}
