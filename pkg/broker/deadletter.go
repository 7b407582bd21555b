package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Headers of messages.
const (
	headerContentType = "Content-Type"
	headerReason      = "Bucketmesh-Reason"
	headerKind        = "Bucketmesh-Kind"
	headerTrigger     = "Bucketmesh-Trigger"
	headerAttempts    = "Bucketmesh-Attempts"
	headerCut         = "Bucketmesh-Cut-From" // bytes of the whole
)

const (
	maxReason   = 2048 // bytes
	headerSpace = 8192 // bytes of a message that are left for its headers
)

// StoreRaw keeps a message that could not be understood, for a person to look at. It is in the store when StoreRaw returns
// nil; then the sender may be told to forget it. What is larger than the store takes is cut, which the letter says.
// The same message with the same reason is kept once within Config.Dedupe.
func (b *Broker) StoreRaw(ctx context.Context, raw []byte, contentType, reason string) error {
	whole, id := len(raw), messageID("raw", string(raw), reason)
	raw = raw[:min(int64(whole), b.nc.MaxPayload()-headerSpace)]
	m := deadMessage(b.names.raw, raw, contentType, reason)
	m.Header.Set(jetstream.MsgIDHeader, id)
	if len(raw) < whole {
		m.Header.Set(headerCut, strconv.Itoa(whole))
	}
	return b.publish(ctx, m)
}

func deadMessage(subject string, data []byte, contentType, reason string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = data
	m.Header.Set(headerContentType, oneLine(contentType, 256))
	m.Header.Set(headerReason, oneLine(reason, maxReason))
	return m
}

// oneLine makes a header value of any text, of at most limit bytes.
func oneLine(s string, limit int) string {
	s = strings.ToValidUTF8(s[:min(len(s), limit)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}

// DeadLetters lists dead letters, oldest first; limit 0 is all.
func (b *Broker) DeadLetters(ctx context.Context, limit int) ([]deadletter.Letter, error) {
	var letters []deadletter.Letter
	err := b.eachDead(ctx, func(d deadletter.Letter) (bool, error) {
		letters = append(letters, d)
		return limit == 0 || len(letters) < limit, nil
	})
	return letters, err
}

// DeadLetter is one dead letter. Errors: NotFound.
func (b *Broker) DeadLetter(ctx context.Context, id string) (deadletter.Letter, error) {
	m, err := b.letter(ctx, id)
	if err != nil {
		return deadletter.Letter{}, err
	}
	return deadLetter(m), nil
}

// eachDead calls f for every dead letter that exists now, until it returns false.
func (b *Broker) eachDead(ctx context.Context, f func(deadletter.Letter) (bool, error)) error {
	info, err := b.dead.Info(ctx)
	if err != nil {
		return errkind.New(errkind.Unavailable, "read dead letters: %w", err)
	}
	// Letters that arrive meanwhile are not looked at: a replay that fails again would go on for ever.
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := b.dead.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(b.cfg.Name+".dead.>")) // the first at seq or after it
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return errkind.New(errkind.Unavailable, "read dead letter: %w", err)
		}
		if seq = m.Sequence; seq > info.State.LastSeq {
			return nil
		}
		if more, err := f(deadLetter(m)); err != nil || !more {
			return err
		}
	}
	return nil
}

func deadLetter(m *jetstream.RawStreamMsg) deadletter.Letter {
	d := deadletter.Letter{
		ID:          strconv.FormatUint(m.Sequence, 10),
		Time:        m.Time,
		Trigger:     m.Header.Get(headerTrigger),
		Reason:      m.Header.Get(headerReason),
		Kind:        m.Header.Get(headerKind),
		ContentType: m.Header.Get(headerContentType),
	}
	// Headers that this package wrote; a letter that another program put there shows zeros.
	d.Attempts, _ = strconv.Atoi(m.Header.Get(headerAttempts))
	d.CutFrom, _ = strconv.Atoi(m.Header.Get(headerCut))
	if d.Trigger != "" {
		if e, err := decode(m.Data); err == nil {
			d.Event = &e
			return d
		}
	}
	d.Raw = m.Data
	return d
}

// Replay gives a dead letter back to the trigger that failed it, and to no other, and then removes the letter. A crash in
// between leaves both: the event is handled and the letter can be replayed again.
func (b *Broker) Replay(ctx context.Context, id string) error {
	m, err := b.letter(ctx, id)
	if err != nil {
		return err
	}
	return b.replay(ctx, deadLetter(m))
}

// ReplayAll replays every dead letter that exists now and can be replayed, and says how many. Raw messages and letters of
// triggers that are gone are left.
func (b *Broker) ReplayAll(ctx context.Context) (n int, err error) {
	err = b.eachDead(ctx, func(d deadletter.Letter) (bool, error) {
		switch err := b.replay(ctx, d); {
		case err == nil:
			n++
		case !errkind.Is(err, errkind.Unsupported) && !errkind.Is(err, errkind.NotFound):
			return false, err
		}
		return true, nil
	})
	return n, err
}

func (b *Broker) replay(ctx context.Context, d deadletter.Letter) error {
	if d.Event == nil {
		return errkind.New(errkind.Unsupported, "replay dead letter %s: it is no event, so no trigger can take it", d.ID)
	}
	// The store forgets at once what no trigger waits for.
	if _, err := b.events.Consumer(ctx, d.Trigger); errors.Is(err, jetstream.ErrConsumerNotFound) {
		return errkind.New(errkind.NotFound, "replay dead letter %s: trigger %s does not exist any more", d.ID, d.Trigger)
	} else if err != nil {
		return errkind.New(errkind.Unavailable, "replay dead letter %s: %w", d.ID, err)
	}
	m, err := b.encode(*d.Event)
	if err != nil {
		return err
	}
	m.Subject = b.names.replay + "." + d.Trigger
	m.Header.Set(jetstream.MsgIDHeader, messageID("replay", d.ID, d.Time.String())) // not the event's: that one was seen
	if b.cfg.Replaying != nil {
		if err := b.cfg.Replaying(ctx, d.Trigger, *d.Event); err != nil {
			return err
		}
	}
	if err := b.publish(ctx, m); err != nil {
		if b.cfg.Buried != nil { // it stays where it is
			err = errors.Join(err, b.cfg.Buried(context.WithoutCancel(ctx), d.Trigger, *d.Event))
		}
		return err
	}
	return b.Discard(ctx, d.ID)
}

// Discard removes a dead letter for good. One that is gone already is no error.
func (b *Broker) Discard(ctx context.Context, id string) error {
	seq, err := sequence(id)
	if err != nil {
		return err
	}
	err = b.dead.DeleteMsg(ctx, seq)
	if err == nil {
		return nil
	}
	// The server has no code of its own for deleting what isn't there.
	if _, look := b.dead.GetMsg(ctx, seq); errors.Is(look, jetstream.ErrMsgNotFound) {
		return nil
	}
	return errkind.New(errkind.Unavailable, "remove dead letter %s: %w", id, err)
}

func (b *Broker) letter(ctx context.Context, id string) (*jetstream.RawStreamMsg, error) {
	seq, err := sequence(id)
	if err != nil {
		return nil, err
	}
	m, err := b.dead.GetMsg(ctx, seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, errkind.New(errkind.NotFound, "read dead letter %s: there is none", id)
	case err != nil:
		return nil, errkind.New(errkind.Unavailable, "read dead letter %s: %w", id, err)
	}
	return m, nil
}

func sequence(id string) (uint64, error) {
	seq, err := strconv.ParseUint(id, 10, 64)
	if err != nil || seq == 0 {
		return 0, errkind.New(errkind.Invalid, "dead letter %q: an id is a positive number", id)
	}
	return seq, nil
}
