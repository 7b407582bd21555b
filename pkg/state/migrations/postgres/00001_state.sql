-- Times are unix nanoseconds. Keys are BYTEA, so that their order is byte order whatever the database's collation is.

-- +goose Up
-- One document per key, changed by compare-and-set on rev. JSON and not JSONB: it is stored as it was sent, which
-- costs the server no conversion, and can still be queried.
CREATE TABLE bm_object (
    grp TEXT   NOT NULL,
    key BYTEA  NOT NULL,
    rev BIGINT NOT NULL,
    doc JSON   NOT NULL,
    PRIMARY KEY (grp, key)
) WITH (fillfactor = 80);

-- How many keys a group has, and the highest revision of any that was removed. Both are kept per shard of keys, so
-- that transactions that create keys at the same time rarely wait for each other.
CREATE TABLE bm_shard (
    grp   TEXT   NOT NULL,
    shard BIGINT NOT NULL,
    keys  BIGINT NOT NULL,
    floor BIGINT NOT NULL,
    PRIMARY KEY (grp, shard)
) WITH (fillfactor = 50);

CREATE TABLE bm_dirty (
    grp      TEXT   NOT NULL,
    key      BYTEA  NOT NULL,
    due      BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    reason   TEXT   NOT NULL,
    PRIMARY KEY (grp, key)
);
CREATE INDEX bm_dirty_due ON bm_dirty (grp, due, key);

CREATE TABLE bm_outbox (
    seq  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    grp  TEXT  NOT NULL,
    id   TEXT  NOT NULL,
    json BYTEA NOT NULL
);
CREATE INDEX bm_outbox_grp ON bm_outbox (grp);

CREATE TABLE bm_conflict (
    grp      TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    key      BYTEA  NOT NULL,
    state    TEXT   NOT NULL,
    detected BIGINT NOT NULL,
    doc      JSON   NOT NULL,
    PRIMARY KEY (grp, id)
);
CREATE INDEX bm_conflict_newest ON bm_conflict (grp, detected DESC, id COLLATE "C" DESC);
CREATE INDEX bm_conflict_state ON bm_conflict (grp, state, detected DESC, id COLLATE "C" DESC);

CREATE TABLE bm_cursor (
    grp   TEXT  NOT NULL,
    name  TEXT  NOT NULL,
    value BYTEA NOT NULL,
    PRIMARY KEY (grp, name)
);

-- +goose Down
DROP TABLE bm_cursor;
DROP TABLE bm_conflict;
DROP TABLE bm_outbox;
DROP TABLE bm_dirty;
DROP TABLE bm_shard;
DROP TABLE bm_object;
