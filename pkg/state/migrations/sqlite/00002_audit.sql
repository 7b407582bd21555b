-- +goose Up
-- The audit log: append-only, each entry holds the hash of the one before.
CREATE TABLE bm_audit (
    seq      INTEGER PRIMARY KEY,
    source   TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    type     TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    time     INTEGER NOT NULL,
    recorded INTEGER NOT NULL,
    event    BLOB    NOT NULL,
    prev     BLOB    NOT NULL,
    hash     BLOB    NOT NULL,
    UNIQUE (source, id)
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER bm_audit_no_update BEFORE UPDATE ON bm_audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER bm_audit_no_delete BEFORE DELETE ON bm_audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd

-- INSERT OR REPLACE removes rows without firing delete triggers (unless recursive_triggers is on), so an insert is
-- refused unless it is the next entry and an unknown event.
-- +goose StatementBegin
CREATE TRIGGER bm_audit_only_next BEFORE INSERT ON bm_audit
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM bm_audit)
  OR EXISTS (SELECT 1 FROM bm_audit WHERE source = NEW.source AND id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE bm_audit;
