-- The commit that last changed a row of usage, where a store is told of them; 0:
-- none was. Without a store the index is empty.
ALTER TABLE usage ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
CREATE INDEX usage_changed ON usage (changed) WHERE changed > 0;
