-- The first schema. Times are ISO 8601 UTC; JSON columns hold one document; booleans are 0 or 1.

CREATE TABLE model (
    id INTEGER PRIMARY KEY,
    spec TEXT NOT NULL,            -- what the person wrote: builtin:…, a directory, a hub id
    revision TEXT NOT NULL,        -- hub commit, or the content hash of the local weights
    family TEXT NOT NULL,          -- transformers' model_type
    n_layers INTEGER NOT NULL,
    d_model INTEGER NOT NULL,
    d_mlp INTEGER NOT NULL,
    vocab_size INTEGER NOT NULL,
    device TEXT NOT NULL,          -- auto, cpu, cuda, cuda:1, mps
    dtype TEXT NOT NULL            -- float32, bfloat16
) STRICT;

CREATE TABLE project (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    model_id INTEGER NOT NULL REFERENCES model(id),
    created_at TEXT NOT NULL,
    version TEXT NOT NULL          -- of the workbench that made it
) STRICT;

CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,     -- relative to the project directory
    size_bytes INTEGER NOT NULL,
    hash TEXT NOT NULL             -- xxh3-128 of the content, hex
) STRICT;

CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    params TEXT NOT NULL,          -- JSON
    params_hash TEXT NOT NULL,     -- of kind, params and model revision: the key of the result cache
    state TEXT NOT NULL CHECK (state IN
        ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    progress REAL NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    note TEXT NOT NULL DEFAULT '', -- the stage it is in
    result TEXT,                   -- JSON, once succeeded
    error TEXT,                    -- the line that was printed, once failed
    pid INTEGER,
    host TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    elapsed_s REAL,
    cpu_s REAL
) STRICT;
CREATE INDEX job_by_params ON job(params_hash, state);

CREATE TABLE job_event (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,            -- state, warning, checkpoint; ground: what a result rests on
    text TEXT NOT NULL
) STRICT;

CREATE TABLE prompt (
    id INTEGER PRIMARY KEY,
    behaviour TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,     -- behaviour/number
    clean TEXT NOT NULL,
    corrupt TEXT,
    decisive TEXT NOT NULL,        -- the token the clean prompt should give
    rival TEXT,                    -- the token the corrupt prompt should give
    concept TEXT                   -- the expected intermediate concept
) STRICT;

CREATE TABLE baseline (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id),
    prompt_id INTEGER NOT NULL REFERENCES prompt(id),
    variant TEXT NOT NULL CHECK (variant IN ('clean', 'corrupt')),
    tokens TEXT NOT NULL,          -- JSON list of ids
    p_decisive REAL NOT NULL,
    rank_decisive INTEGER NOT NULL,-- 0 is the most probable token
    logit_difference REAL,         -- decisive - rival, nats
    top TEXT NOT NULL,             -- JSON list of [token, p]
    continuation TEXT NOT NULL,
    passed INTEGER NOT NULL,
    seed INTEGER NOT NULL
) STRICT;

CREATE TABLE capture (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id),
    corpus TEXT NOT NULL,          -- the spec: offline, a path, hub:NAME
    corpus_hash TEXT NOT NULL,     -- of the token ids that were read
    layers TEXT NOT NULL,          -- JSON list
    n_documents INTEGER NOT NULL,
    n_tokens INTEGER NOT NULL,
    context_length INTEGER NOT NULL,
    seed INTEGER NOT NULL
) STRICT;

CREATE TABLE shard (
    id INTEGER PRIMARY KEY,
    capture_id INTEGER NOT NULL REFERENCES capture(id),
    file_id INTEGER NOT NULL REFERENCES file(id),
    layer INTEGER NOT NULL,
    split TEXT NOT NULL CHECK (split IN ('train', 'validation')),
    n_rows INTEGER NOT NULL
) STRICT;

CREATE TABLE dictionary (
    id INTEGER PRIMARY KEY,
    job_id INTEGER REFERENCES job(id),
    name TEXT NOT NULL,            -- of the set; a set has one row a layer
    kind TEXT NOT NULL CHECK (kind IN ('sae', 'transcoder')),
    layer INTEGER NOT NULL,
    n_features INTEGER NOT NULL,
    objective TEXT NOT NULL,       -- topk, l1, …
    file_id INTEGER NOT NULL REFERENCES file(id),
    config TEXT NOT NULL,          -- JSON: what loading needs
    metrics TEXT NOT NULL,         -- JSON: fvu, l0, dead_share, … at the end of training
    UNIQUE (name, layer)
) STRICT;

CREATE TABLE training_point (
    dictionary_id INTEGER NOT NULL REFERENCES dictionary(id) ON DELETE CASCADE,
    tokens INTEGER NOT NULL,
    split TEXT NOT NULL CHECK (split IN ('train', 'validation')),
    loss REAL NOT NULL,
    fvu REAL NOT NULL,
    l0 REAL NOT NULL,
    dead_share REAL NOT NULL,
    PRIMARY KEY (dictionary_id, tokens, split)
) STRICT;

CREATE TABLE feature (
    id INTEGER PRIMARY KEY,
    dictionary_id INTEGER NOT NULL REFERENCES dictionary(id) ON DELETE CASCADE,
    feature INTEGER NOT NULL,
    density REAL NOT NULL,         -- share of tokens it is active on
    maximum REAL NOT NULL,
    mean REAL NOT NULL,            -- over the tokens it is active on
    histogram TEXT NOT NULL,       -- JSON counts
    promoted TEXT NOT NULL,        -- JSON list of [token, logit]
    suppressed TEXT NOT NULL,
    fires_on TEXT NOT NULL DEFAULT '[]', -- JSON list of the tokens of its strongest examples, each once
    label TEXT NOT NULL DEFAULT '',
    UNIQUE (dictionary_id, feature)
) STRICT;

CREATE TABLE example (
    feature_id INTEGER PRIMARY KEY REFERENCES feature(id) ON DELETE CASCADE,
    packed BLOB NOT NULL           -- store.search.pack_examples
) STRICT;

CREATE VIRTUAL TABLE feature_fts USING fts5(
    label, examples, promoted, content='', contentless_delete=1, tokenize='unicode61'
);
CREATE TRIGGER feature_leaves_index AFTER DELETE ON feature BEGIN
    DELETE FROM feature_fts WHERE rowid = old.id;  -- ids are given again, so nothing of an old feature may stay
END;

CREATE TABLE graph (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id),
    prompt TEXT NOT NULL,
    tokens TEXT NOT NULL,          -- JSON list of ids
    dictionary TEXT NOT NULL,      -- neurons, or the name of a set
    targets TEXT NOT NULL,         -- JSON
    rule TEXT NOT NULL,
    file_id INTEGER NOT NULL REFERENCES file(id),  -- the raw arrays
    closing_error REAL NOT NULL,
    replacement_score REAL NOT NULL,
    completeness_score REAL NOT NULL,
    summary TEXT NOT NULL          -- JSON: the rest of what `trace --json` printed
) STRICT;

CREATE TABLE node (                -- the kept nodes only; the rest is in the graph's file
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    node INTEGER NOT NULL,         -- its index in the file
    kind TEXT NOT NULL CHECK (kind IN ('token', 'feature', 'error', 'logit')),
    layer INTEGER NOT NULL,
    position INTEGER NOT NULL,
    feature INTEGER NOT NULL,      -- feature index; token id of a token or logit; -1 of an error
    activation REAL NOT NULL,      -- probability of a logit
    influence REAL NOT NULL,
    share REAL NOT NULL,           -- nats of the decisive target that come through it, along all paths
    predicted_effect REAL,         -- of a feature on the decisive target, nats
    input_size REAL NOT NULL,      -- sum of |share| over everything its value is made of; 0 of a source
    PRIMARY KEY (graph_id, node)
) STRICT;

CREATE TABLE edge (
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    source INTEGER NOT NULL,
    target INTEGER NOT NULL,
    share REAL NOT NULL,
    effect REAL,
    PRIMARY KEY (graph_id, target, source)
) STRICT;

CREATE TABLE supernode (
    id INTEGER PRIMARY KEY,
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    nodes TEXT NOT NULL,           -- JSON list of node indices
    UNIQUE (graph_id, name)
) STRICT;

CREATE TABLE intervention (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id),
    prompt TEXT NOT NULL,
    edits TEXT NOT NULL,           -- JSON, in the edit grammar
    baseline TEXT NOT NULL,        -- JSON
    outcome TEXT NOT NULL          -- JSON
) STRICT;

CREATE TABLE effect (              -- what validate measured
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id),
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('ablation', 'swap', 'control')),
    layer INTEGER NOT NULL,
    position INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    predicted REAL NOT NULL,       -- baseline - edited, first order, in the metric's nats
    measured REAL NOT NULL,        -- the same, from the real model
    verdict TEXT NOT NULL
) STRICT;
CREATE INDEX effect_by_graph ON effect(graph_id, kind);

CREATE TABLE finding (
    id INTEGER PRIMARY KEY,
    created_at TEXT NOT NULL,
    text TEXT NOT NULL,
    provenance TEXT NOT NULL       -- JSON: job, graph, node, value
) STRICT;

CREATE TABLE ui_state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL            -- JSON
) STRICT;
