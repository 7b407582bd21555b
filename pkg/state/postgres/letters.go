package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/ledger"
	"github.com/bucketmesh/bucketmesh/pkg/state/internal/record"
)

// Letters are the dead letters of services in the same database, beside the ledger that counts them.
type Letters struct{ s *Store }

var _ deadletter.Store = (*Letters)(nil)

// Letters are the store's dead letters. They end with the store.
func (s *Store) Letters() *Letters { return &Letters{s} }

// forgetChunk bounds how many replayed letters one Put forgets.
const forgetChunk = 100

// maxName is what the indexes of audit log and ledger take of an event's source and id together, whatever is in them (2,704 bytes a row).
const maxName = 2000

const (
	letterPut = `INSERT INTO bm_letter AS l (grp, trigger, name, arrivals, doc) VALUES ($1, $2, $3, 1, $4)
		ON CONFLICT (grp, trigger, name) DO UPDATE SET arrivals = l.arrivals + 1, replayed = NULL, doc = excluded.doc`
	// The time is asked for twice, because one that comes back meanwhile is the same row, and only the outer condition sees it as it is then.
	letterForget = `DELETE FROM bm_letter WHERE replayed < $2 AND seq IN
		(SELECT seq FROM bm_letter WHERE grp = $1 AND replayed < $2 ORDER BY replayed LIMIT $3)`
	letterFields = `SELECT seq, arrivals, coalesce(replayed, 0), doc FROM bm_letter WHERE grp = $1 AND `
	letterList   = letterFields + `seq > $2 AND (replayed IS NULL OR $3) ORDER BY seq LIMIT $4`
	letterCount  = `SELECT count(*) FROM bm_letter WHERE grp = $1 AND replayed IS NULL`
	letterDone   = `UPDATE bm_letter SET replayed = $4 WHERE grp = $1 AND seq = $2 AND arrivals = $3`
)

// Put implements deadletter.Store.
func (t *Letters) Put(ctx context.Context, group string, l deadletter.Letter) error {
	if err := record.CheckKeys(group); err != nil {
		return err
	}
	doc, err := json.Marshal(l)
	if err != nil {
		return errkind.New(errkind.Invalid, "keep dead letter: %w", err)
	}
	err = t.s.repeat(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, t.s.pool, func(tx pgx.Tx) error {
			var b pgx.Batch
			b.Queue(letterPut, group, l.Trigger, l.Name(), doc)
			t.note(&b, group, l, ledger.Dead)
			b.Queue(letterForget, group, record.Nanos(t.s.o.Now().Add(-deadletter.KeepReplayed)), forgetChunk)
			return tx.SendBatch(ctx, &b).Close()
		})
	})
	return classify("keep dead letter", err)
}

// note has the ledger follow what becomes of a letter, if it is about its event at all.
func (t *Letters) note(b *pgx.Batch, group string, l deadletter.Letter, o ledger.Outcome) {
	if l.Event == nil || !ledger.Accounts(l.Trigger, l.Event.Type()) {
		return
	}
	n := ledger.Note{Source: l.Event.Source(), ID: l.Event.ID(), Outcome: o}
	if ledger.Check(group, n) != nil || len(n.Source)+len(n.ID) > maxName {
		return // the audit log can't have it either, and the letter must be kept all the same
	}
	b.Queue(ledgerNote, group, []string{n.Source}, []string{n.ID}, [][]byte{{}}, []string{string(o)}, record.Nanos(t.s.o.Now()))
}

// List implements deadletter.Store.
func (t *Letters) List(ctx context.Context, group string, q deadletter.Query) ([]deadletter.Letter, error) {
	var after int64
	if q.After != "" {
		var err error
		if after, err = deadletter.Number(q.After); err != nil {
			return nil, err //nolint:wrapcheck // says what an id is
		}
	}
	letters, err := all(ctx, t.s, func(r pgx.CollectableRow) (deadletter.Letter, error) { return scanLetter(r) },
		letterList, group, after, q.Replayed, record.Limit(q.Limit))
	return letters, classify("read dead letters", err)
}

// Count implements deadletter.Store.
func (t *Letters) Count(ctx context.Context, group string) (n int64, err error) {
	err = t.s.repeat(ctx, func(ctx context.Context) error {
		return t.s.pool.QueryRow(ctx, letterCount, group).Scan(&n)
	})
	return n, classify("count dead letters", err)
}

// Get implements deadletter.Store.
func (t *Letters) Get(ctx context.Context, group, id string) (l deadletter.Letter, err error) {
	seq, err := deadletter.Number(id)
	if err != nil {
		return l, err //nolint:wrapcheck // says what an id is
	}
	err = t.s.repeat(ctx, func(ctx context.Context) error {
		l, err = scanLetter(t.s.pool.QueryRow(ctx, letterFields+`seq = $2`, group, seq))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return l, errkind.New(errkind.NotFound, "read dead letter %s: there is none", id)
	}
	return l, classify("read dead letter", err)
}

func scanLetter(row pgx.Row) (l deadletter.Letter, err error) {
	var seq, arrivals, replayed int64
	var doc []byte
	if err := row.Scan(&seq, &arrivals, &replayed, &doc); err != nil {
		return l, err
	}
	if err := json.Unmarshal(doc, &l); err != nil { // it must not hide the others
		l = deadletter.Letter{Reason: "the letter can't be read: " + err.Error(), Raw: doc, ContentType: "application/json"}
	}
	l.ID, l.Arrivals = strconv.FormatInt(seq, 10), int(arrivals)
	if replayed != 0 {
		l.Replayed = record.Time(replayed)
	}
	return l, nil
}

// Replayed implements deadletter.Store.
func (t *Letters) Replayed(ctx context.Context, group string, l deadletter.Letter) error {
	seq, err := deadletter.Number(l.ID)
	if err != nil {
		return err //nolint:wrapcheck // says what an id is
	}
	err = t.s.repeat(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, t.s.pool, func(tx pgx.Tx) error {
			done, err := tx.Exec(ctx, letterDone, group, seq, l.Arrivals, record.Nanos(t.s.o.Now()))
			if err != nil || done.RowsAffected() == 0 { // it came back, or was dropped
				return err
			}
			var b pgx.Batch
			t.note(&b, group, l, ledger.Replayed)
			return tx.SendBatch(ctx, &b).Close()
		})
	})
	return classify("note replayed dead letter", err)
}

// Drop implements deadletter.Store.
func (t *Letters) Drop(ctx context.Context, group, id string) error {
	seq, err := deadletter.Number(id)
	if err != nil {
		return err //nolint:wrapcheck // says what an id is
	}
	return classify("drop dead letter", t.s.exec(ctx, `DELETE FROM bm_letter WHERE grp = $1 AND seq = $2`, group, seq))
}
