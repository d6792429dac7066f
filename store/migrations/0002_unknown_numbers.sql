-- Graphs of other programs come without some numbers: a closing error, an activation, a share may be unknown.

ALTER TABLE graph ADD COLUMN closing_error_or_null REAL; -- the largest |sum of a row - its value|, relative
UPDATE graph SET closing_error_or_null = closing_error;
ALTER TABLE graph DROP COLUMN closing_error;
ALTER TABLE graph RENAME COLUMN closing_error_or_null TO closing_error;

CREATE TABLE node_rebuilt (        -- the kept nodes only; the rest is in the graph's file
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    node INTEGER NOT NULL,         -- its index in the file
    kind TEXT NOT NULL CHECK (kind IN ('token', 'feature', 'error', 'logit')),
    layer INTEGER NOT NULL,
    position INTEGER NOT NULL,
    feature INTEGER NOT NULL,      -- feature index; token id of a token or logit; -1 of an error, or if not known
    activation REAL,               -- probability of a logit
    influence REAL NOT NULL,
    share REAL,                    -- nats of the decisive target that come through it, along all paths
    predicted_effect REAL,         -- of a feature on the decisive target, nats
    input_size REAL NOT NULL,      -- sum of |share| over everything its value is made of; 0 of a source
    PRIMARY KEY (graph_id, node)
) STRICT;
INSERT INTO node_rebuilt SELECT * FROM node;
DROP TABLE node;
ALTER TABLE node_rebuilt RENAME TO node;
