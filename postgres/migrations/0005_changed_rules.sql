-- What an edit changed, so that a replica reads that alone: rows have the version of
-- their last edit, whichever program made it.
ALTER TABLE aig_budget ADD COLUMN version bigint NOT NULL DEFAULT 0;
ALTER TABLE aig_key ADD COLUMN version bigint NOT NULL DEFAULT 0;
CREATE INDEX aig_budget_version ON aig_budget (version);
CREATE INDEX aig_key_version ON aig_key (version);

-- The last edits. A token tells one from another that got its version after commits
-- were lost: who does not find what it knows reads all.
CREATE TABLE aig_edit (
  version bigint PRIMARY KEY,
  token   uuid NOT NULL
);
INSERT INTO aig_edit SELECT version, gen_random_uuid() FROM aig_state;
-- The budgets and keys that they deleted.
CREATE TABLE aig_deleted (
  version bigint NOT NULL,
  id      text COLLATE "C" NOT NULL,
  PRIMARY KEY (version, id)
);

CREATE FUNCTION aig_note_edit() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM aig_edit WHERE version <= NEW.version - 1000 OR version >= NEW.version;
  DELETE FROM aig_deleted WHERE version <= NEW.version - 1000 OR version >= NEW.version;
  INSERT INTO aig_edit VALUES (NEW.version, gen_random_uuid());
  RETURN NULL;
END $$;
CREATE TRIGGER aig_state_edit AFTER UPDATE OF version ON aig_state
  FOR EACH ROW EXECUTE FUNCTION aig_note_edit();

CREATE FUNCTION aig_note_change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  SELECT version INTO NEW.version FROM aig_state;
  RETURN NEW;
END $$;
CREATE TRIGGER aig_budget_change BEFORE INSERT OR UPDATE ON aig_budget FOR EACH ROW EXECUTE FUNCTION aig_note_change();
CREATE TRIGGER aig_key_change BEFORE INSERT OR UPDATE ON aig_key FOR EACH ROW EXECUTE FUNCTION aig_note_change();

CREATE FUNCTION aig_note_deletion() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO aig_deleted SELECT version, OLD.id FROM aig_state ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER aig_budget_deletion AFTER DELETE ON aig_budget FOR EACH ROW EXECUTE FUNCTION aig_note_deletion();
CREATE TRIGGER aig_key_deletion AFTER DELETE ON aig_key FOR EACH ROW EXECUTE FUNCTION aig_note_deletion();
