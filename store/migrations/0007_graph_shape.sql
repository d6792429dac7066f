-- What a person does to a graph while reading it: pins, named views, and every edit with its way back.

CREATE TABLE pin (                 -- nodes that stay on the screen whatever the thresholds
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    node INTEGER NOT NULL,         -- its index in the graph's file
    PRIMARY KEY (graph_id, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE graph_view (
    id INTEGER PRIMARY KEY,
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    view TEXT NOT NULL,            -- JSON: thresholds, root, direction, what is open, pins
    created_at TEXT NOT NULL,
    UNIQUE (graph_id, name)
) STRICT;

CREATE TABLE graph_edit (          -- in the order in which they were made; those that were undone are the last ones
    id INTEGER PRIMARY KEY,
    graph_id INTEGER NOT NULL REFERENCES graph(id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    words TEXT NOT NULL,           -- what was done
    before TEXT NOT NULL,          -- JSON: the parts that it changed, as they were (store.graph_shape.Parts)
    after TEXT NOT NULL,           -- JSON: the same, as it left them
    undone INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX graph_edit_by_graph ON graph_edit(graph_id, id);
