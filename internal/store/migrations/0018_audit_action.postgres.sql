-- What an entry tells was done, read from the entry itself: nobody has to write
-- it, and nobody can write another. Quotes within texts are escaped, so that the
-- first name that stands so is the entry's own.
ALTER TABLE audit ADD COLUMN action TEXT COLLATE "C" GENERATED ALWAYS AS (
	split_part(split_part(body, '"action":"', 2), '"', 1)
) STORED;
CREATE INDEX audit_action ON audit (action, seq);
