package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/state"
)

const (
	// newMark is a mark of a dirty entry that was never given before: 62 random bits. They cost nothing; a counter would
	// be one more page to write in each transaction.
	newMark = `random() & 9223372036854775807 | 1`

	isLease = `reason = '` + state.ReasonLease + `'`
)

// writes are the statements of the writer, prepared once on its connection.
type writes struct {
	create, update, remove, exists, grow, shrink    *sql.Stmt
	clean, unlease, soil, lease, mark               *sql.Stmt
	event, published, conflict, setCursor, noCursor *sql.Stmt
	auditHead, auditKnown, auditAppend              *sql.Stmt
	weigh, brake, deletion, noDeletion              *sql.Stmt
	removed, forgetDeletions, forgetRemoved         *sql.Stmt

	ledger ledgerWrites
}

func (w *writes) prepare(ctx context.Context, conn *sql.Conn) error {
	return prepare(ctx, conn, append(w.ledger.queries(), []query{
		{&w.create, `INSERT INTO bm_object (grp, key, rev, doc) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`},
		{&w.update, `UPDATE bm_object SET rev = ?4, doc = ?5 WHERE grp = ?1 AND key = ?2 AND rev = ?3`},
		{&w.remove, `DELETE FROM bm_object WHERE grp = ?1 AND key = ?2 AND rev = ?3`},
		{&w.exists, `SELECT EXISTS (SELECT 1 FROM bm_object WHERE grp = ?1 AND key = ?2)`},
		{&w.grow, `INSERT INTO bm_shard (grp, shard, keys, floor) VALUES (?1, ?2, 1, 0)
			ON CONFLICT DO UPDATE SET keys = keys + 1 RETURNING floor`},
		{&w.shrink, `UPDATE bm_shard SET keys = keys - 1, floor = max(floor, ?3) WHERE grp = ?1 AND shard = ?2`},
		{&w.clean, `DELETE FROM bm_dirty WHERE grp = ?1 AND key = ?2 AND (mark = ?3 OR ` + isLease + `)`},
		{&w.unlease, `DELETE FROM bm_dirty WHERE grp = ?1 AND key = ?2 AND ` + isLease},
		{&w.soil, `INSERT INTO bm_dirty (grp, key, due, attempts, reason, mark) VALUES (?1, ?2, ?3, ?4, ?5, ` + newMark + `)
			ON CONFLICT DO UPDATE SET due = iif(mark = ?6 OR ` + isLease + `, excluded.due, min(due, excluded.due)),
				attempts = excluded.attempts, reason = excluded.reason, mark = excluded.mark`},
		{&w.lease, `INSERT INTO bm_dirty (grp, key, due, attempts, reason, mark)
			VALUES (?1, ?2, ?3, 0, '` + state.ReasonLease + `', ` + newMark + `) ON CONFLICT DO NOTHING`},
		{&w.mark, `INSERT INTO bm_dirty (grp, key, due, attempts, reason, mark) VALUES (?1, ?2, ?3, 0, ?4, ` + newMark + `)
			ON CONFLICT DO UPDATE SET due = min(due, excluded.due),
				reason = iif(excluded.due < due OR ` + isLease + `, excluded.reason, reason), mark = excluded.mark`},
		{&w.event, `INSERT INTO bm_outbox (grp, id, json) VALUES (?1, ?2, ?3)`},
		{&w.published, `DELETE FROM bm_outbox WHERE seq = ?1`},
		{&w.conflict, `INSERT INTO bm_conflict (grp, id, key, state, detected, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT DO UPDATE SET key = excluded.key, state = excluded.state, detected = excluded.detected, doc = excluded.doc`},
		{&w.setCursor, `INSERT INTO bm_cursor (grp, name, value) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value`},
		{&w.noCursor, `DELETE FROM bm_cursor WHERE grp = ?1 AND name = ?2`},
		{&w.auditHead, auditHead},
		{&w.auditKnown, `SELECT EXISTS (SELECT 1 FROM bm_audit WHERE source = ?1 AND id = ?2)`},
		{&w.auditAppend, `INSERT INTO bm_audit (seq, source, id, type, subject, time, recorded, event, prev, hash)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)`},
		{&w.weigh, `SELECT b.doc, d.version, d.noted, d.waiting, d.approved,
				(SELECT coalesce(sum(keys), 0) FROM bm_shard WHERE grp = ?1)
			FROM (SELECT 1) LEFT JOIN bm_brake b ON b.grp = ?1 LEFT JOIN bm_deletion d ON d.grp = ?1 AND d.key = ?2`},
		{&w.brake, `INSERT INTO bm_brake (grp, doc) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET doc = excluded.doc`},
		{&w.deletion, `INSERT INTO bm_deletion (grp, key, version, noted, waiting, approved) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
			ON CONFLICT DO UPDATE SET version = excluded.version, noted = excluded.noted, waiting = excluded.waiting,
				approved = excluded.approved`},
		{&w.noDeletion, `DELETE FROM bm_deletion WHERE grp = ?1 AND key = ?2`},
		{&w.removed, `INSERT INTO bm_removed (grp, key, id, removed, expires, ended, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
			ON CONFLICT DO UPDATE SET removed = excluded.removed, expires = excluded.expires, ended = excluded.ended, doc = excluded.doc`},
		{&w.forgetDeletions, `DELETE FROM bm_deletion WHERE (grp, key) IN
			(SELECT grp, key FROM bm_deletion WHERE grp = ?1 AND waiting = 0 AND noted < ?2 LIMIT ?3)`},
		{&w.forgetRemoved, `DELETE FROM bm_removed WHERE (grp, key, id) IN
			(SELECT grp, key, id FROM bm_removed WHERE grp = ?1 AND ended = 1 AND expires < ?2 LIMIT ?3)`},
	}...))
}

// reads are the statements of the readers.
type reads struct {
	get, rows, due, nextDue, outbox  *sql.Stmt
	conflicts, conflictsIn, conflict *sql.Stmt
	cursor, stats, audit, auditHead  *sql.Stmt
	brake, deletions, removed        *sql.Stmt

	ledger ledgerReads
}

const auditHead = `SELECT seq, hash FROM bm_audit ORDER BY seq DESC LIMIT 1`

func (r *reads) prepare(ctx context.Context, db *sql.DB) error {
	return prepare(ctx, db, append(r.ledger.queries(), []query{
		{&r.get, `SELECT o.rev, o.doc, s.floor, d.mark FROM (SELECT 1) LEFT JOIN bm_object o ON o.grp = ?1 AND o.key = ?2
			LEFT JOIN bm_shard s ON s.grp = ?1 AND s.shard = ?3 LEFT JOIN bm_dirty d ON d.grp = ?1 AND d.key = ?2`},
		{&r.rows, `SELECT key, rev, doc FROM bm_object WHERE grp = ?1 AND key > ?2 ORDER BY key LIMIT ?3`},
		{&r.due, `SELECT key, due, attempts, reason, mark FROM bm_dirty WHERE grp = ?1 AND due <= ?2 ORDER BY due, key LIMIT ?3`},
		{&r.nextDue, `SELECT min(due) FROM bm_dirty WHERE grp = ?1`},
		{&r.outbox, `SELECT seq, id, json FROM bm_outbox ORDER BY seq LIMIT ?1`},
		{&r.conflicts, `SELECT key, doc FROM bm_conflict WHERE grp = ?1 ORDER BY detected DESC, id DESC LIMIT ?2`},
		{&r.conflictsIn, `SELECT key, doc FROM bm_conflict WHERE grp = ?1 AND state IN (SELECT value FROM json_each(?3)) ORDER BY detected DESC, id DESC LIMIT ?2`},
		{&r.conflict, `SELECT key, doc FROM bm_conflict WHERE grp = ?1 AND id = ?2`},
		{&r.cursor, `SELECT value FROM bm_cursor WHERE grp = ?1 AND name = ?2`},
		{&r.stats, `SELECT
			(SELECT coalesce(sum(keys), 0) FROM bm_shard WHERE grp = ?1),
			(SELECT count(*) FROM bm_dirty WHERE grp = ?1),
			(SELECT count(*) FROM bm_outbox WHERE grp = ?1),
			(SELECT count(*) FROM bm_conflict WHERE grp = ?1)`},
		{&r.audit, `SELECT seq, source, id, type, subject, time, recorded, event, prev, hash FROM bm_audit
			WHERE seq > ?1 ORDER BY seq LIMIT ?2`},
		{&r.auditHead, auditHead},
		{&r.brake, `SELECT doc FROM bm_brake WHERE grp = ?1`},
		{&r.deletions, `SELECT key, version, noted, approved FROM bm_deletion WHERE grp = ?1 AND waiting = 1 AND key > ?2
			ORDER BY key LIMIT ?3`},
		{&r.removed, `SELECT key, doc FROM bm_removed WHERE grp = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) AND removed >= ?4
			AND (NOT ?5 OR ended = 0) AND expires < ?6 AND (key, id) > (?7, ?8) ORDER BY key, id LIMIT ?9`},
	}...))
}

type query struct {
	to   **sql.Stmt
	text string
}

type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

func prepare(ctx context.Context, p preparer, qs []query) error {
	for _, q := range qs {
		stmt, err := p.PrepareContext(ctx, q.text)
		if err != nil {
			return fmt.Errorf("prepare statement: %w", err)
		}
		*q.to = stmt
	}
	return nil
}
