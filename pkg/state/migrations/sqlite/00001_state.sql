-- Times are unix nanoseconds. Keys are BLOBs, so that their order is byte order.

-- +goose Up
-- One document per key, changed by compare-and-set on rev. It has a rowid on purpose: documents of a kilobyte in the
-- interior pages of a WITHOUT ROWID table would make the tree deep.
CREATE TABLE bm_object (
    grp TEXT    NOT NULL,
    key BLOB    NOT NULL,
    rev INTEGER NOT NULL,
    doc TEXT    NOT NULL,
    PRIMARY KEY (grp, key)
) STRICT;

-- How many keys a group has, and the highest revision of any that was removed. Both are kept per shard of keys.
CREATE TABLE bm_shard (
    grp   TEXT    NOT NULL,
    shard INTEGER NOT NULL,
    keys  INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    PRIMARY KEY (grp, shard)
) STRICT, WITHOUT ROWID;

-- mark names what is to be done: it changes with every wake-up, so that whoever did the one before can't clear it.
CREATE TABLE bm_dirty (
    grp      TEXT    NOT NULL,
    key      BLOB    NOT NULL,
    due      INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    mark     INTEGER NOT NULL,
    PRIMARY KEY (grp, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX bm_dirty_due ON bm_dirty (grp, due, key);

-- AUTOINCREMENT: a number that was published and removed must never name another event.
CREATE TABLE bm_outbox (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    grp  TEXT NOT NULL,
    id   TEXT NOT NULL,
    json BLOB NOT NULL
) STRICT;
CREATE INDEX bm_outbox_grp ON bm_outbox (grp);

CREATE TABLE bm_conflict (
    grp      TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    key      BLOB    NOT NULL,
    state    TEXT    NOT NULL,
    detected INTEGER NOT NULL,
    doc      TEXT    NOT NULL,
    PRIMARY KEY (grp, id)
) STRICT;
CREATE INDEX bm_conflict_newest ON bm_conflict (grp, detected DESC, id DESC);
CREATE INDEX bm_conflict_state ON bm_conflict (grp, state, detected DESC, id DESC);

CREATE TABLE bm_cursor (
    grp   TEXT NOT NULL,
    name  TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (grp, name)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE bm_cursor;
DROP TABLE bm_conflict;
DROP TABLE bm_outbox;
DROP TABLE bm_dirty;
DROP TABLE bm_shard;
DROP TABLE bm_object;
