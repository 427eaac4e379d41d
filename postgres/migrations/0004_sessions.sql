-- Who is signed in at the page, and addresses that sign in once, by hashes of secrets that
-- browsers alone have; each text is sealed with its secret.
CREATE TABLE aig_session (
  hash    text COLLATE "C" PRIMARY KEY,
  ends_at bigint NOT NULL, -- nanoseconds since 1970
  sealed  bytea NOT NULL
);
CREATE INDEX aig_session_end ON aig_session (ends_at);
