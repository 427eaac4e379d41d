-- Which of its budget's calls an account is of: '' is all of them, and all there is while
-- the primary keys are without it. They stay so for programs of before, which insert
-- ON CONFLICT (budget_id, start) and (budget_id, start, holder): another unique index
-- beside, that has the scope, would fail them where two open an account at once. Programs
-- of this version on go on with either key: the migration that brings another scope
-- replaces both, and raises readable above 5.
ALTER TABLE aig_account ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE aig_lease ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '';
