-- Each entry gets the hash of what it says, which holds that of the entry before.
DROP TRIGGER audit_no_update;
DROP TRIGGER audit_no_replace;
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_at ON audit (at, seq);

-- Where each noun was edited, so that its state at any time is found.
CREATE TABLE audit_edit (
	noun        TEXT NOT NULL,
	key         TEXT NOT NULL,
	environment TEXT NOT NULL,
	seq         INTEGER NOT NULL,
	PRIMARY KEY (noun, environment, key, seq)
) WITHOUT ROWID;
-- chain
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- REPLACE deletes what is in its way without asking the trigger on deletions.
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
	OR NEW.version > 0 AND EXISTS (SELECT 1 FROM audit WHERE environment = NEW.environment AND version = NEW.version AND version > 0)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
