-- What an entry tells was done, read from the entry itself: nobody has to write
-- it, and nobody can write another. Quotes within texts are escaped, so that the
-- first name that stands so is the entry's own.
ALTER TABLE audit ADD COLUMN action TEXT GENERATED ALWAYS AS (
	substr(substr(body, instr(body, '"action":"') + 10, 200), 1, instr(substr(body, instr(body, '"action":"') + 10, 200), '"') - 1)
) VIRTUAL;
CREATE INDEX audit_action ON audit (action, seq);
