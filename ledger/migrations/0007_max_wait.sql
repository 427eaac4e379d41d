-- How long a key's calls wait for running ones, in ns; NULL: as long as the
-- gateway lets any wait.
ALTER TABLE key ADD COLUMN max_wait INTEGER;
