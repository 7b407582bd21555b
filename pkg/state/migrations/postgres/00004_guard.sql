-- +goose Up
-- The delete brake of a group: one document, under a lock that every delete takes.
CREATE TABLE bm_brake (
    grp TEXT NOT NULL PRIMARY KEY,
    doc JSON NOT NULL
);

-- Deletes that came up to be carried on, one for each key.
CREATE TABLE bm_deletion (
    grp      TEXT NOT NULL,
    key      BYTEA NOT NULL,
    version  TEXT NOT NULL,
    noted    BIGINT NOT NULL,
    waiting  BOOLEAN NOT NULL,
    approved BOOLEAN NOT NULL,
    PRIMARY KEY (grp, key)
);
CREATE INDEX bm_deletion_waiting ON bm_deletion (grp, key) WHERE waiting = TRUE;
CREATE INDEX bm_deletion_noted ON bm_deletion (grp, noted) WHERE waiting = FALSE;

-- What propagated deletes took away, and where it is kept.
CREATE TABLE bm_removed (
    grp     TEXT NOT NULL,
    key     BYTEA NOT NULL,
    id      TEXT COLLATE "C" NOT NULL,
    removed BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    ended   BOOLEAN NOT NULL,
    doc     JSON NOT NULL,
    PRIMARY KEY (grp, key, id)
);
CREATE INDEX bm_removed_expires ON bm_removed (grp, ended, expires);

-- +goose Down
DROP TABLE bm_removed;
DROP TABLE bm_deletion;
DROP TABLE bm_brake;
