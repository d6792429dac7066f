-- What an index says of neurons and of transcoders, whose weights are no file of the project, and more of every feature.

CREATE TABLE dictionary_rebuilt (
    id INTEGER PRIMARY KEY,
    job_id INTEGER REFERENCES job(id),
    name TEXT NOT NULL,            -- of the set; a set has one row a layer; neurons, or transcoder:PLACE, if it has no file
    kind TEXT NOT NULL CHECK (kind IN ('sae', 'transcoder', 'neurons')),
    layer INTEGER NOT NULL,
    n_features INTEGER NOT NULL,
    objective TEXT NOT NULL,       -- topk, l1, …
    file_id INTEGER REFERENCES file(id), -- none of what was only indexed: the model's neurons, files beside the project
    config TEXT NOT NULL,          -- JSON: what loading needs
    metrics TEXT NOT NULL,         -- JSON: fvu, l0, dead_share, … at the end of training
    UNIQUE (name, layer)
) STRICT;
INSERT INTO dictionary_rebuilt SELECT * FROM dictionary;
DROP TABLE dictionary;
ALTER TABLE dictionary_rebuilt RENAME TO dictionary;

CREATE TABLE feature_detail (      -- none of a feature that was indexed before this
    feature_id INTEGER PRIMARY KEY REFERENCES feature(id) ON DELETE CASCADE,
    standard_deviation REAL NOT NULL, -- of the activation where it is not zero, as column mean of table feature
    skewness REAL NOT NULL,
    kurtosis REAL NOT NULL,        -- 3 of a Gaussian
    sampled BLOB NOT NULL,         -- store.contexts.pack_contexts: drawn from all tokens it is active on, strongest first
    lowest BLOB,                   -- the same, of the activations furthest below zero, signs left out; null if none is
    by_decoder BLOB NOT NULL,      -- store.feature_details.pack_neighbours: cosines of write vectors
    by_coactivation BLOB NOT NULL  -- the same: of the sampled tokens on which either is active, the share where both are
) STRICT;
