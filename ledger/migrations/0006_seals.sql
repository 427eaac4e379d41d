-- Books that are checked once. What a check has read is sealed: it is in the
-- sums below, and the next check begins behind it.

-- Which finished calls a link books: their ids in order, as uvarints of the
-- differences. NULL: a link from before this file.
ALTER TABLE link ADD COLUMN calls BLOB;
CREATE INDEX settle_late ON settle (late_link) WHERE late_link > 0;
CREATE INDEX stray_link ON stray (link);
CREATE INDEX adjust_link ON adjust (link);
CREATE INDEX audit_link ON audit (link);

CREATE TABLE seal (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  listed INTEGER NOT NULL, -- links up to this one name no calls
  old    INTEGER NOT NULL, -- of these links, calls up to this id are sealed; -1: nothing
  link   INTEGER NOT NULL, -- of later ones, links up to this one
  bucket INTEGER NOT NULL, -- usage up to this bucket and tag is sealed
  tag    TEXT NOT NULL,
  zone   TEXT NOT NULL     -- of the months of sealed_usage
) STRICT;
INSERT INTO seal (one, listed, old, link, bucket, tag, zone) SELECT 1, link, -1, link, 0, '', '' FROM head;

-- What sealed rows that are not pruned add up to.
CREATE TABLE sealed_account (
  account INTEGER PRIMARY KEY,
  amount  INTEGER NOT NULL
) STRICT;
CREATE TABLE sealed_tag (
  tag      TEXT PRIMARY KEY,
  requests INTEGER NOT NULL,
  cost     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- What sealed usage adds up to, by the first bucket of a month; -1 is all of it.
CREATE TABLE sealed_usage (
  month    INTEGER NOT NULL,
  tag      TEXT NOT NULL,
  requests INTEGER NOT NULL,
  cost     INTEGER NOT NULL,
  PRIMARY KEY (month, tag)
) STRICT, WITHOUT ROWID;
-- Sealed usage that changed since nobody reads for long; a copy reads it again.
CREATE TABLE usage_late (
  no     INTEGER PRIMARY KEY,
  bucket INTEGER NOT NULL,
  tag    TEXT NOT NULL
) STRICT;

-- Usage before upto, and not before an earlier row's, is kept by the day: by the
-- parts of days that borders of days in UTC and in zone leave.
CREATE TABLE usage_fold (
  upto INTEGER PRIMARY KEY, -- a bucket
  zone TEXT NOT NULL
) STRICT;
