-- Windows that ended and whose accounts are gone, for as long as there is the budget.
CREATE TABLE aig_past_window (
  budget_id text COLLATE "C" NOT NULL,
  start     bigint NOT NULL,
  "end"     bigint NOT NULL,
  spent     bigint NOT NULL,
  PRIMARY KEY (budget_id, start)
);

-- What one replica has refused in a quarter of an hour; budget_id '' is none.
CREATE TABLE aig_refused (
  holder         text COLLATE "C" NOT NULL,
  bucket         bigint NOT NULL,
  budget_id      text COLLATE "C" NOT NULL,
  reason         text COLLATE "C" NOT NULL,
  calls          bigint NOT NULL,
  distinct_calls bigint NOT NULL,
  kept           bigint NOT NULL,
  PRIMARY KEY (bucket, budget_id, reason, holder)
);
CREATE INDEX aig_refused_budget ON aig_refused (budget_id, bucket);

-- What of that was deleted, by window of its budget.
CREATE TABLE aig_refused_window (
  budget_id      text COLLATE "C" NOT NULL,
  start          bigint NOT NULL,
  calls          bigint NOT NULL,
  distinct_calls bigint NOT NULL,
  kept           bigint NOT NULL,
  PRIMARY KEY (budget_id, start)
);

-- Who changed this budget?
CREATE INDEX aig_audit_subject ON aig_audit (subject, id);

-- Corrections of what was charged. They are no replica's: their part of an account is
-- a lease of the holder 'adjustments', which is negative where more was refunded.
CREATE TABLE aig_adjustment (
  id         bigint PRIMARY KEY,
  request_id text COLLATE "C" NOT NULL UNIQUE,
  at         bigint NOT NULL,
  actor      text NOT NULL,
  reason     text NOT NULL,
  budget_id  text COLLATE "C" NOT NULL, -- or '' for a tag
  tag        text COLLATE "C" NOT NULL,
  amount     bigint NOT NULL
);
