-- How good a label is: how well a judge that reads only the label tells where the feature is active (METHOD §7).

CREATE TABLE label_score (
    label_change_id INTEGER NOT NULL REFERENCES label_change(id) ON DELETE CASCADE,
    method TEXT NOT NULL CHECK (method IN ('detection', 'fuzzing')),
    judge TEXT NOT NULL,           -- who told active from inactive; token-overlap: the floor beside it
    balanced_accuracy REAL NOT NULL, -- mean of the shares right among active and among inactive; chance is 0.5
    n_active INTEGER NOT NULL,     -- held-out contexts that were judged
    n_inactive INTEGER NOT NULL,
    unanswered INTEGER NOT NULL,   -- of those that were asked, left out of the score
    PRIMARY KEY (label_change_id, method, judge)
) STRICT, WITHOUT ROWID;
