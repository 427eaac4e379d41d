-- Of the calls in a report, those charged without the provider's final word, and
-- their part of the cost. Rows from before this file do not tell: 0.
ALTER TABLE usage ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN estimated_cost INTEGER NOT NULL DEFAULT 0;
