-- +goose Up
-- The delete brake of a group: one document, under a lock that every delete takes.
CREATE TABLE bm_brake (
    grp TEXT NOT NULL PRIMARY KEY,
    doc TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Deletes that came up to be carried on, one for each key.
CREATE TABLE bm_deletion (
    grp      TEXT NOT NULL,
    key      BLOB NOT NULL,
    version  TEXT NOT NULL,
    noted    INTEGER NOT NULL,
    waiting  INTEGER NOT NULL,
    approved INTEGER NOT NULL,
    PRIMARY KEY (grp, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX bm_deletion_waiting ON bm_deletion (grp, key) WHERE waiting = 1;
CREATE INDEX bm_deletion_noted ON bm_deletion (grp, noted) WHERE waiting = 0;

-- What propagated deletes took away, and where it is kept.
CREATE TABLE bm_removed (
    grp     TEXT NOT NULL,
    key     BLOB NOT NULL,
    id      TEXT NOT NULL,
    removed INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    doc     TEXT NOT NULL,
    PRIMARY KEY (grp, key, id)
) STRICT;
CREATE INDEX bm_removed_expires ON bm_removed (grp, ended, expires);

-- +goose Down
DROP TABLE bm_removed;
DROP TABLE bm_deletion;
DROP TABLE bm_brake;
