-- +goose Up
-- Dead letters of services: events that a trigger gave up on, one for each trigger and event, and messages that could not be
-- understood. name is a digest of what is the same; doc is the letter, with the event byte for byte as JSON has it. replayed is
-- when it was sent again and did not come back.
CREATE TABLE bm_letter (
    seq      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    grp      TEXT   NOT NULL,
    trigger  TEXT   NOT NULL,
    name     BYTEA  NOT NULL,
    arrivals BIGINT NOT NULL,
    replayed BIGINT,
    doc      BYTEA  NOT NULL,
    UNIQUE (grp, trigger, name)
);
CREATE INDEX bm_letter_open ON bm_letter (grp, seq) WHERE replayed IS NULL;
CREATE INDEX bm_letter_replayed ON bm_letter (grp, replayed) WHERE replayed IS NOT NULL;

-- +goose Down
DROP TABLE bm_letter;
