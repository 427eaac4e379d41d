-- Finished calls keep their tag, so that reports can be recounted for each tag
-- and the hash chain covers it. Rows up to this link have it in neither.
INSERT INTO meta (name, value) SELECT 'tagged_after', link FROM head;
ALTER TABLE stray ADD COLUMN tag TEXT;

-- The part of a tag's usage that no row with a tag explains: older rows and the
-- sums of pruned ones.
CREATE TABLE usage_tag (
  tag      TEXT PRIMARY KEY,
  requests INTEGER NOT NULL,
  cost     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO usage_tag (tag, requests, cost) SELECT tag, sum(requests), sum(cost) FROM (
  SELECT tag, requests, cost FROM usage
  UNION ALL SELECT tag, -1, -actual FROM settle WHERE tag IS NOT NULL
  UNION ALL SELECT tag, 0, -amount FROM adjust WHERE tag <> ''
) GROUP BY tag;
DROP TABLE usage_base;
