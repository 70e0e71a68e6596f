-- Each entry gets the hash of what it says, which holds that of the entry before.
ALTER TABLE audit DISABLE TRIGGER audit_append_only;
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_at ON audit (at, seq);

-- Where each noun was edited, so that its state at any time is found.
CREATE TABLE audit_edit (
	noun        TEXT COLLATE "C" NOT NULL,
	key         TEXT COLLATE "C" NOT NULL,
	environment TEXT COLLATE "C" NOT NULL,
	seq         BIGINT NOT NULL,
	PRIMARY KEY (noun, environment, key, seq)
);
-- chain
ALTER TABLE audit ENABLE ALWAYS TRIGGER audit_append_only;
