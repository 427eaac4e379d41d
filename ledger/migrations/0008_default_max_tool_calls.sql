-- How often tools that the provider runs may be used by a call that does not
-- limit them, for calls that a budget watches and for calls of a key; 0: none.
ALTER TABLE budget ADD COLUMN default_max_tool_calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key ADD COLUMN default_max_tool_calls INTEGER NOT NULL DEFAULT 0;
