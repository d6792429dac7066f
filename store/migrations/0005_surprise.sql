-- Prompts of which nothing is asked, and how surprising each token of a prompt is to the model.

ALTER TABLE prompt ADD COLUMN decisive_or_null TEXT;           -- the token the clean prompt should give, if it was named
UPDATE prompt SET decisive_or_null = decisive;
ALTER TABLE prompt DROP COLUMN decisive;
ALTER TABLE prompt RENAME COLUMN decisive_or_null TO decisive;

ALTER TABLE baseline ADD COLUMN p_decisive_or_null REAL;
ALTER TABLE baseline ADD COLUMN rank_decisive_or_null INTEGER; -- 0 is the most probable token
ALTER TABLE baseline ADD COLUMN passed_or_null INTEGER;        -- null where nothing was asked
UPDATE baseline SET
    p_decisive_or_null = p_decisive, rank_decisive_or_null = rank_decisive, passed_or_null = passed;
ALTER TABLE baseline DROP COLUMN p_decisive;
ALTER TABLE baseline DROP COLUMN rank_decisive;
ALTER TABLE baseline DROP COLUMN passed;
ALTER TABLE baseline RENAME COLUMN p_decisive_or_null TO p_decisive;
ALTER TABLE baseline RENAME COLUMN rank_decisive_or_null TO rank_decisive;
ALTER TABLE baseline RENAME COLUMN passed_or_null TO passed;
CREATE INDEX baseline_by_prompt ON baseline(prompt_id, variant);

CREATE TABLE surprise (            -- of the tokens of a baseline's prompt
    baseline_id INTEGER PRIMARY KEY REFERENCES baseline(id) ON DELETE CASCADE,
    tokens TEXT NOT NULL           -- JSON list of [token, bits]: -log2 p given the tokens before; null of the first
) STRICT;
