-- Books that can be recounted, and a hash chain over what was booked.

-- The part of an account's spending that no row explains: what its budget's
-- target had cost before the budget was set, and the sum of pruned rows.
CREATE TABLE base (
  account INTEGER PRIMARY KEY,
  amount  INTEGER NOT NULL
) STRICT;

-- The same for the usage table, over all accounts.
CREATE TABLE usage_base (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  requests INTEGER NOT NULL,
  cost     INTEGER NOT NULL
) STRICT;
INSERT INTO usage_base (one, requests, cost) VALUES (1, 0, 0);
-- Once, the program fills both from what is there.
INSERT INTO meta (name, value) VALUES ('rebase', 1);

-- Corrections by people; never edited.
CREATE TABLE adjust (
  id         INTEGER PRIMARY KEY,
  request_id TEXT NOT NULL UNIQUE,
  at         INTEGER NOT NULL,
  actor      TEXT NOT NULL,
  reason     TEXT NOT NULL,
  budget_id  TEXT NOT NULL, -- one budget's open window, or ''
  tag        TEXT NOT NULL, -- a tag's usage and every budget that watches it, or ''
  amount     INTEGER NOT NULL, -- negative: a refund
  residue    INTEGER NOT NULL, -- of a refund, what was taken from residue
  accounts   BLOB NOT NULL,
  link       INTEGER NOT NULL
) STRICT;

-- The hash chain: one link per commit that booked rows. A row names its link;
-- 0 is a row from before the chain. late_link is the link of a correction.
CREATE TABLE link (
  no   INTEGER PRIMARY KEY,
  at   INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  hash BLOB NOT NULL
) STRICT;
ALTER TABLE settle ADD COLUMN link INTEGER NOT NULL DEFAULT 0;
ALTER TABLE settle ADD COLUMN late_link INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stray ADD COLUMN link INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN link INTEGER NOT NULL DEFAULT 0;
-- Audit rows are kept for ever, so they have a chain of their own.
ALTER TABLE audit ADD COLUMN hash BLOB NOT NULL DEFAULT x'';

-- Where the chain stands. commits counts every commit of the journal.
CREATE TABLE head (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  commits INTEGER NOT NULL,
  link    INTEGER NOT NULL,
  hash    BLOB NOT NULL
) STRICT;
INSERT INTO head (one, commits, link, hash) VALUES (1, 0, 0, zeroblob(32));

-- Links up to no were deleted with their rows; the next one follows hash.
CREATE TABLE checkpoint (
  no   INTEGER PRIMARY KEY,
  hash BLOB NOT NULL,
  at   INTEGER NOT NULL,
  link INTEGER NOT NULL
) STRICT;
