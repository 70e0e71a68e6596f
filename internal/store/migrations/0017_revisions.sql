-- How often teams and environments themselves were changed, so that nobody
-- overwrites what they have not read. What an environment serves has a version.
ALTER TABLE team ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE environment ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
