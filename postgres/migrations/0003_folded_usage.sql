-- Usage of before the last upto is kept by the day: see budget.UsageFold.
CREATE TABLE aig_usage_fold (
  upto bigint PRIMARY KEY, -- a quarter of an hour since 1970, exclusive
  zone text NOT NULL
);

-- The epoch of a replica whose program knows of aig_usage_fold.
ALTER TABLE aig_holder ADD COLUMN folds bigint NOT NULL DEFAULT 0;

-- The total of a quarter of an hour must not come beside, or in the place of, the day
-- that it was added to. Who writes usage says up to where it knows that to be folded;
-- who says nothing, such as an older program, writes later usage alone. Whoever moves
-- the border or what is before it has the lock alone.
CREATE FUNCTION aig_usage_guard() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  known  text := current_setting('aig.usage_upto', true);
  folded bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1634298742, TG_RELID::int);
  SELECT coalesce(max(upto), 0) INTO folded FROM aig_usage_fold;
  IF known <> '' THEN
    IF known::bigint <> folded THEN
      RAISE EXCEPTION 'usage is folded up to %, not up to %', folded, known USING ERRCODE = 'AGW01';
    END IF;
  ELSIF EXISTS (SELECT 1 FROM put WHERE bucket < folded) THEN
    RAISE EXCEPTION 'usage of before % is kept by the day, which this program does not know: upgrade it', to_timestamp(folded * 900) USING ERRCODE = 'AGW01';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER aig_usage_insert AFTER INSERT ON aig_usage REFERENCING NEW TABLE AS put
  FOR EACH STATEMENT EXECUTE FUNCTION aig_usage_guard();
CREATE TRIGGER aig_usage_update AFTER UPDATE ON aig_usage REFERENCING NEW TABLE AS put
  FOR EACH STATEMENT EXECUTE FUNCTION aig_usage_guard();
