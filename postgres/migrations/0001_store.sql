-- Money is in nano-USD; times that are numbers in Unix nanoseconds. Texts compare by
-- their bytes, as in Go. Names begin with aig_: the schema may be shared.

-- One row. An edit of rules takes its lock, so versions are in the order of commits.
CREATE TABLE aig_state (
  one        boolean PRIMARY KEY CHECK (one),
  version    bigint NOT NULL, -- of the rules
  timeline   text NOT NULL,   -- of the server, to notice a failover
  generation bigint NOT NULL  -- grows when commits may have been lost
);
INSERT INTO aig_state VALUES (true, 1, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), 1);

-- A replica. Rows stay: an epoch is never used again.
CREATE TABLE aig_holder (
  id          text COLLATE "C" PRIMARY KEY,
  name        text NOT NULL,
  program     text NOT NULL,
  config_hash text NOT NULL,
  epoch       bigint NOT NULL,
  seq         bigint NOT NULL,      -- of its last exchange in this epoch
  joined      timestamptz NOT NULL DEFAULT now(),
  seen        timestamptz NOT NULL, -- its last exchange
  applied     bigint NOT NULL,      -- the version it obeys; 0: none yet
  asserted    bigint NOT NULL,      -- the generation in which it told all its leases
  pushed      timestamptz,          -- its last usage
  has_left    boolean NOT NULL DEFAULT false,
  forgotten   boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE TABLE aig_budget (
  id                     text COLLATE "C" PRIMARY KEY,
  tags                   text COLLATE "C" NOT NULL, -- a tag pattern, or '' for a key's budget
  key_id                 text COLLATE "C" NOT NULL,
  period                 bigint NOT NULL, -- 1 month, 2 day, 3 week, 4 total
  zone                   text NOT NULL,
  cap                    bigint NOT NULL,
  default_max_tokens     bigint NOT NULL,
  default_max_tool_calls bigint NOT NULL,
  create_time            bigint NOT NULL,
  update_time            bigint NOT NULL,
  counting               boolean NOT NULL,
  running_start          bigint NOT NULL DEFAULT 0, -- the window an edit of the zone moved
  running_end            bigint NOT NULL DEFAULT 0,
  UNIQUE (tags, key_id, period)
);

-- One budget in one window: the sums of its leases, which are kept under the row's lock.
CREATE TABLE aig_account (
  budget_id    text COLLATE "C" NOT NULL,
  start        bigint NOT NULL,
  "end"        bigint NOT NULL, -- 2^63-1: never
  cap          bigint NOT NULL, -- the budget's
  allocated    bigint NOT NULL DEFAULT 0,
  spent        bigint NOT NULL DEFAULT 0,
  reserved     bigint NOT NULL DEFAULT 0,
  recall_until timestamptz NOT NULL DEFAULT '-infinity', -- infinity: until allocated <= cap
  PRIMARY KEY (budget_id, start)
) WITH (fillfactor = 50);
CREATE INDEX aig_account_recall ON aig_account (recall_until) WHERE recall_until > '-infinity';
CREATE INDEX aig_account_end ON aig_account ("end");

-- What one replica may use of an account in all, and what of that it does.
CREATE TABLE aig_lease (
  budget_id text COLLATE "C" NOT NULL,
  start     bigint NOT NULL,
  holder    text COLLATE "C" NOT NULL,
  lease     bigint NOT NULL,
  spent     bigint NOT NULL,
  reserved  bigint NOT NULL,
  PRIMARY KEY (budget_id, start, holder)
) WITH (fillfactor = 50);
CREATE INDEX aig_lease_holder ON aig_lease (holder);

-- Credentials: hash is the SHA-256 of the secret, lists are JSON.
CREATE TABLE aig_key (
  id                     text COLLATE "C" PRIMARY KEY,
  hash                   bytea NOT NULL,
  name                   text NOT NULL,
  scopes                 text NOT NULL,
  allowed_tags           text NOT NULL,
  default_tag            text NOT NULL,
  allowed_models         text NOT NULL,
  create_time            bigint NOT NULL,
  expire_time            bigint NOT NULL, -- 0: never
  default_max_tokens     bigint NOT NULL,
  default_max_tool_calls bigint NOT NULL,
  max_wait               bigint
);

-- Who changed what. hash covers the row and the hash before it.
CREATE TABLE aig_audit (
  id      bigint PRIMARY KEY,
  at      bigint NOT NULL,
  actor   text NOT NULL,
  action  text NOT NULL,
  subject text NOT NULL,
  detail  text NOT NULL, -- JSON
  hash    bytea NOT NULL
);

-- What one replica has booked for a quarter of an hour and an attribution.
CREATE TABLE aig_usage (
  holder         text COLLATE "C" NOT NULL,
  bucket         bigint NOT NULL, -- quarters of an hour since 1970
  tag            text COLLATE "C" NOT NULL,
  model          text COLLATE "C" NOT NULL,
  provider       text COLLATE "C" NOT NULL,
  key_id         text COLLATE "C" NOT NULL,
  seq            bigint NOT NULL, -- of the push: an older one changes nothing
  requests       bigint NOT NULL,
  unpriced       bigint NOT NULL,
  cost           bigint NOT NULL,
  input          bigint NOT NULL,
  cache_read     bigint NOT NULL,
  cache_write    bigint NOT NULL,
  output         bigint NOT NULL,
  estimated      bigint NOT NULL,
  estimated_cost bigint NOT NULL,
  PRIMARY KEY (bucket, tag, model, provider, key_id, holder)
);

-- What one replica wants to know of all, and what they answered. Nothing that must
-- survive: no standby waits for it.
CREATE UNLOGGED TABLE aig_question (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind  text NOT NULL,
  body  bytea NOT NULL,
  asked timestamptz NOT NULL DEFAULT now()
);
CREATE UNLOGGED TABLE aig_answer (
  question bigint NOT NULL,
  holder   text COLLATE "C" NOT NULL,
  body     bytea NOT NULL,
  PRIMARY KEY (question, holder)
);
