-- A budget of a store that several ledgers share counts until each of them has told
-- what its target had cost: meanwhile it limits nothing.
ALTER TABLE budget ADD COLUMN counting INTEGER NOT NULL DEFAULT 0;
