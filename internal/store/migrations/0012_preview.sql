-- The attributes of contexts that programs may tell, as a JSON list.
ALTER TABLE environment ADD COLUMN sample_attributes TEXT NOT NULL DEFAULT '[]';

-- A sample of the units seen lately, one row each, by a hash of the unit; the
-- context itself is sealed. The rows of the least rank are kept.
CREATE TABLE sampled_context (
	environment {{key}} NOT NULL REFERENCES environment (key),
	id          {{key}} NOT NULL,
	rank        DOUBLE PRECISION NOT NULL,
	seen_at     BIGINT NOT NULL,
	body        {{blob}} NOT NULL,
	PRIMARY KEY (environment, id)
);
CREATE INDEX sampled_context_rank ON sampled_context (environment, rank);

-- The rank from which on units are not in the sample.
CREATE TABLE sample_bound (
	environment {{key}} PRIMARY KEY REFERENCES environment (key),
	rank        DOUBLE PRECISION NOT NULL
);

-- How many different units there were on a day (days since 1970), as sketches by
-- the level of the unit; and the highest level at which a sender left units out.
CREATE TABLE unit_sketch (
	environment {{key}} NOT NULL REFERENCES environment (key),
	day         BIGINT NOT NULL,
	level       BIGINT NOT NULL,
	body        {{blob}} NOT NULL,
	PRIMARY KEY (environment, day, level)
);
CREATE TABLE sampled_day (
	environment {{key}} NOT NULL REFERENCES environment (key),
	day         BIGINT NOT NULL,
	level       BIGINT NOT NULL,
	PRIMARY KEY (environment, day)
);
