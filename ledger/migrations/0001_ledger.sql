-- Money is in nano-USD, times in Unix nanoseconds, unless a comment says otherwise.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY, -- instance, token_key, clean, closed_epoch, wall
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per start of the process. seq is the highest journaled reservation.
CREATE TABLE epoch (
  epoch INTEGER PRIMARY KEY,
  seq   INTEGER NOT NULL,
  born  INTEGER NOT NULL
) STRICT;

CREATE TABLE budget (
  num         INTEGER PRIMARY KEY,
  id          TEXT NOT NULL UNIQUE,
  tags        TEXT NOT NULL, -- a tag pattern, or '' for a key's budget
  key_id      TEXT NOT NULL,
  period      INTEGER NOT NULL, -- 1 month, 2 day, 3 week, 4 total
  zone        TEXT NOT NULL,
  cap         INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  update_time INTEGER NOT NULL,
  UNIQUE (tags, key_id, period)
) STRICT;

-- One budget in one window.
CREATE TABLE account (
  id      INTEGER PRIMARY KEY,
  budget  INTEGER NOT NULL,
  start   INTEGER NOT NULL,
  "end"   INTEGER NOT NULL, -- 2^63-1: never
  spent   INTEGER NOT NULL,
  orphan  INTEGER NOT NULL, -- left undecided by a crash; held, later charged
  residue INTEGER NOT NULL, -- of spent, what a late log may still take back
  hw      INTEGER NOT NULL  -- high-water mark
) STRICT;
CREATE INDEX account_budget ON account (budget, start);
CREATE INDEX account_end ON account ("end");
CREATE INDEX account_undecided ON account (id) WHERE hw > spent OR residue > 0;

-- Open reservations. accounts is a list of uvarint ids.
CREATE TABLE hold (
  rid         INTEGER PRIMARY KEY, -- epoch<<43 | seq
  request_id  TEXT NOT NULL,
  reserved_at INTEGER NOT NULL,
  bound       INTEGER NOT NULL,
  unpriced    INTEGER NOT NULL,
  accounts    BLOB NOT NULL,
  key_id      TEXT NOT NULL,
  tag         TEXT NOT NULL,
  model       TEXT NOT NULL,
  provider    TEXT NOT NULL
) STRICT;

-- Finished reservations. Those that expired keep what a late log needs.
CREATE TABLE settle (
  rid         INTEGER PRIMARY KEY,
  at          INTEGER NOT NULL,
  status      INTEGER NOT NULL, -- 0 settled, 1 expired, 2 late, 3 orphan
  basis       TEXT NOT NULL,
  bound       INTEGER NOT NULL,
  actual      INTEGER NOT NULL,
  accounts    BLOB NOT NULL,
  request_id  TEXT,
  reserved_at INTEGER,
  unpriced    INTEGER,
  key_id      TEXT,
  tag         TEXT,
  model       TEXT,
  provider    TEXT
) STRICT;
CREATE INDEX settle_expired ON settle (rid) WHERE status = 1;
CREATE INDEX settle_orphan ON settle (rid) WHERE status = 3;

-- Billed calls of unknown origin.
CREATE TABLE stray (
  request_id TEXT PRIMARY KEY,
  at         INTEGER NOT NULL,
  basis      TEXT NOT NULL,
  actual     INTEGER NOT NULL,
  accounts   BLOB NOT NULL
) STRICT;

-- How far the access-log file is read; at most one row.
CREATE TABLE spool (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  file   TEXT NOT NULL,
  offset INTEGER NOT NULL
) STRICT;

-- Reports: calls by quarter of an hour of their reservation (in units of 15
-- minutes since 1970) and attribution.
CREATE TABLE usage (
  bucket      INTEGER NOT NULL,
  tag         TEXT NOT NULL,
  model       TEXT NOT NULL,
  provider    TEXT NOT NULL,
  key_id      TEXT NOT NULL,
  requests    INTEGER NOT NULL,
  unpriced    INTEGER NOT NULL,
  cost        INTEGER NOT NULL,
  input       INTEGER NOT NULL,
  cache_read  INTEGER NOT NULL,
  cache_write INTEGER NOT NULL,
  output      INTEGER NOT NULL,
  PRIMARY KEY (bucket, tag, model, provider, key_id)
) STRICT, WITHOUT ROWID;

-- Credentials: hash is the SHA-256 of the secret, lists are JSON.
CREATE TABLE key (
  id             TEXT PRIMARY KEY,
  hash           BLOB NOT NULL,
  name           TEXT NOT NULL,
  scopes         TEXT NOT NULL,
  allowed_tags   TEXT NOT NULL,
  default_tag    TEXT NOT NULL,
  allowed_models TEXT NOT NULL,
  create_time    INTEGER NOT NULL,
  expire_time    INTEGER NOT NULL -- 0: never
) STRICT, WITHOUT ROWID;

-- Who changed what.
CREATE TABLE audit (
  id      INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail  TEXT NOT NULL -- JSON
) STRICT;
