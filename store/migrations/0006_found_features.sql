-- Finding features among a million, what a person says of them, and the texts of their examples without a model.

CREATE TABLE context (             -- the texts of a feature's strongest examples; none if it was indexed before this
    feature_id INTEGER PRIMARY KEY REFERENCES feature(id) ON DELETE CASCADE,
    words TEXT NOT NULL,           -- what feature_fts finds under `examples`: needed again when a label changes
    packed BLOB NOT NULL           -- store.contexts.pack_contexts
) STRICT;

CREATE TABLE token_text (          -- of the tokens in contexts
    token INTEGER PRIMARY KEY,     -- id in the model's vocabulary
    text TEXT NOT NULL
) STRICT;

CREATE TABLE star (                -- features that a person wants to find again; they outlive a new index
    dictionary_id INTEGER NOT NULL REFERENCES dictionary(id) ON DELETE CASCADE,
    feature INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (dictionary_id, feature)
) STRICT, WITHOUT ROWID;

CREATE TABLE label_change (        -- every label that a feature was given
    id INTEGER PRIMARY KEY,
    dictionary_id INTEGER NOT NULL REFERENCES dictionary(id) ON DELETE CASCADE,
    feature INTEGER NOT NULL,
    label TEXT NOT NULL,           -- empty: the label was taken away
    source TEXT NOT NULL,          -- person; or the name of what wrote it
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX label_change_by_feature ON label_change(dictionary_id, feature);

CREATE TABLE fires_on (            -- column fires_on of table feature, the other way round; the triggers keep it so
    token TEXT NOT NULL,
    feature_id INTEGER NOT NULL,
    PRIMARY KEY (token, feature_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER feature_comes_with_tokens AFTER INSERT ON feature BEGIN
    INSERT OR IGNORE INTO fires_on SELECT value, new.id FROM json_each(new.fires_on);
END;
CREATE TRIGGER feature_leaves_tokens AFTER DELETE ON feature BEGIN
    DELETE FROM fires_on WHERE feature_id = old.id AND token IN (SELECT value FROM json_each(old.fires_on));
END;
INSERT OR IGNORE INTO fires_on SELECT value, feature.id FROM feature, json_each(feature.fires_on);

CREATE VIRTUAL TABLE label_fts USING fts5(  -- labels alone: found at once however many features have the word
    label, content='', contentless_delete=1, tokenize='unicode61'
);
CREATE TRIGGER feature_comes_with_label AFTER INSERT ON feature WHEN new.label != '' BEGIN
    INSERT INTO label_fts (rowid, label) VALUES (new.id, new.label);
END;
CREATE TRIGGER feature_changes_label AFTER UPDATE OF label ON feature BEGIN
    DELETE FROM label_fts WHERE rowid = old.id;
    INSERT INTO label_fts (rowid, label) SELECT new.id, new.label WHERE new.label != '';
END;
CREATE TRIGGER feature_leaves_label AFTER DELETE ON feature WHEN old.label != '' BEGIN
    DELETE FROM label_fts WHERE rowid = old.id;
END;
INSERT INTO label_fts (rowid, label) SELECT id, label FROM feature WHERE label != '';

CREATE INDEX feature_by_density ON feature(density, dictionary_id);
CREATE INDEX feature_by_maximum ON feature(maximum, dictionary_id, density);
CREATE INDEX feature_by_label ON feature(label, dictionary_id) WHERE label != '';
CREATE INDEX node_by_feature ON node(layer, feature) WHERE kind = 'feature';
