-- Windows that ended and whose accounts are gone, and what budgets refused.
CREATE TABLE past_window (
  budget TEXT NOT NULL, -- id of one that exists
  start  INTEGER NOT NULL,
  "end"  INTEGER NOT NULL,
  spent  INTEGER NOT NULL,
  PRIMARY KEY (budget, start)
) STRICT, WITHOUT ROWID;

-- By quarter of an hour, for as long as finished calls; budget '' is none.
CREATE TABLE refused (
  bucket         INTEGER NOT NULL,
  budget         TEXT NOT NULL,
  reason         TEXT NOT NULL,
  calls          INTEGER NOT NULL,
  distinct_calls INTEGER NOT NULL,
  kept           INTEGER NOT NULL,
  PRIMARY KEY (bucket, budget, reason)
) STRICT, WITHOUT ROWID;

-- The same by window of a budget, for as long as there is the budget.
CREATE TABLE refused_window (
  budget         TEXT NOT NULL,
  start          INTEGER NOT NULL,
  reason         TEXT NOT NULL,
  calls          INTEGER NOT NULL,
  distinct_calls INTEGER NOT NULL,
  kept           INTEGER NOT NULL,
  PRIMARY KEY (budget, start, reason)
) STRICT, WITHOUT ROWID;

-- Who changed this budget?
CREATE INDEX audit_subject ON audit (subject, id);
