-- The shares of users that got something else of a flag by changes that nobody
-- else approved: many small ones are a large one.
CREATE TABLE unasked (
	environment {{key}} NOT NULL,
	flag        {{key}} NOT NULL,
	version     BIGINT NOT NULL, -- of the environment's ruleset, that the change made
	at          BIGINT NOT NULL,
	ppm         BIGINT NOT NULL,
	PRIMARY KEY (environment, flag, version)
);
