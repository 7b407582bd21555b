-- +goose Up
-- What became of each event of the audit log, for each group. outcome is '' if nobody said, although it came in long ago;
-- other is a second outcome that can't be true beside it; seq is the entry of the audit log, once the books were
-- closed up to there; key is that of parked events.
CREATE TABLE bm_outcome (
    grp     TEXT   NOT NULL,
    source  TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    key     BYTEA  NOT NULL,
    outcome TEXT   NOT NULL,
    other   TEXT   NOT NULL DEFAULT '',
    noted   BIGINT NOT NULL,
    seq     BIGINT,
    PRIMARY KEY (grp, source, id)
);
CREATE INDEX bm_outcome_open ON bm_outcome (grp, seq) WHERE seq IS NOT NULL;

-- The books of a group: the entry of the audit log up to which they are closed, how many events came in since they were
-- opened, and what became of those whose rows were removed.
CREATE TABLE bm_ledger (
    grp        TEXT   NOT NULL PRIMARY KEY,
    seq        BIGINT NOT NULL,
    seen       BIGINT NOT NULL DEFAULT 0,
    applied    BIGINT NOT NULL DEFAULT 0,
    superseded BIGINT NOT NULL DEFAULT 0,
    filtered   BIGINT NOT NULL DEFAULT 0
);

-- Whether a parked event is in conflict is asked by key.
CREATE INDEX bm_conflict_key ON bm_conflict (grp, key);

-- +goose Down
DROP INDEX bm_conflict_key;
DROP TABLE bm_ledger;
DROP TABLE bm_outcome;
