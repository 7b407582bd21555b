-- +goose Up
-- The audit log: append-only, each entry holds the hash of the one before.
CREATE TABLE bm_audit (
    seq      BIGINT PRIMARY KEY,
    source   TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    type     TEXT   NOT NULL,
    subject  TEXT   NOT NULL,
    time     BIGINT NOT NULL,
    recorded BIGINT NOT NULL,
    event    BYTEA  NOT NULL,
    prev     BYTEA  NOT NULL,
    hash     BYTEA  NOT NULL,
    UNIQUE (source, id)
);

-- +goose StatementBegin
CREATE FUNCTION bm_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END;
$$;
-- +goose StatementEnd

CREATE TRIGGER bm_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bm_audit
    FOR EACH STATEMENT EXECUTE FUNCTION bm_audit_refuse();

-- +goose Down
DROP TABLE bm_audit;
DROP FUNCTION bm_audit_refuse();
