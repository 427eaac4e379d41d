-- The output cap of a call that names none, for calls that a budget watches and
-- for calls of a key; 0: none.
ALTER TABLE budget ADD COLUMN default_max_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN default_max_tokens INTEGER NOT NULL DEFAULT 0;
