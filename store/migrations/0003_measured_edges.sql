-- What validate measured of edges and of supernodes, beside what it measured of features (table effect).

CREATE TABLE edge_effect (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id),
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('strongest', 'control')),
    source INTEGER NOT NULL,       -- a node of the graph, removed
    target INTEGER NOT NULL,       -- a node of the graph; all numbers are clean - edited in its units
    predicted_direct REAL NOT NULL,-- the edge's effect
    direct REAL NOT NULL,          -- measured, every other feature held at its clean value
    predicted_total REAL NOT NULL, -- the total derivative
    total REAL NOT NULL,           -- measured, nothing held
    verdict TEXT NOT NULL          -- of the direct effect
) STRICT;
CREATE INDEX edge_effect_by_graph ON edge_effect(graph_id);

CREATE TABLE supernode_effect (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job(id),
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    nodes TEXT NOT NULL,           -- JSON list of node indices: its members when it was measured
    predicted REAL NOT NULL,       -- baseline - edited, integrated gradients, in the metric's nats
    measured REAL NOT NULL,        -- the same, from the real model
    verdict TEXT NOT NULL
) STRICT;
CREATE INDEX supernode_effect_by_graph ON supernode_effect(graph_id);
