-- What a job was expected to take of memory and what it took, and the order in which a person wants queued jobs taken.

CREATE TABLE job_memory (          -- of jobs that loaded a model; bytes beyond what the process held with it loaded
    job_id INTEGER PRIMARY KEY REFERENCES job(id) ON DELETE CASCADE,
    estimated_bytes INTEGER,       -- before the work began; unknown where its kind has no formula
    peak_bytes INTEGER,            -- of the host's memory; unknown while it runs, or if its process died
    device_peak_bytes INTEGER      -- of a GPU's memory, where there is one
) STRICT;

CREATE TABLE job_turn (            -- jobs that were moved, and those that wait behind them; the others follow by id
    job_id INTEGER PRIMARY KEY REFERENCES job(id) ON DELETE CASCADE,
    turn INTEGER NOT NULL
) STRICT;
