-- What can be told of one call: when it ended, its tokens, how its bound came
-- about (call_detail.go). Finished calls also keep whose they were. Rows from
-- before this file tell less.
ALTER TABLE hold ADD COLUMN detail BLOB;
ALTER TABLE settle ADD COLUMN detail BLOB;
