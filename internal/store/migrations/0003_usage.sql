-- How often flags served what, and when last.
CREATE TABLE usage (
	environment {{key}} NOT NULL REFERENCES environment (key),
	flag        {{key}} NOT NULL,
	variant     {{key}} NOT NULL,
	n           BIGINT NOT NULL,
	last        BIGINT NOT NULL,
	PRIMARY KEY (environment, flag, variant)
);

-- Keys that programs evaluate and that are no flags.
CREATE TABLE unknown_flag (
	environment {{key}} NOT NULL REFERENCES environment (key),
	flag        {{key}} NOT NULL,
	service     {{key}} NOT NULL,
	version     {{key}} NOT NULL,
	last        BIGINT NOT NULL,
	PRIMARY KEY (environment, flag, service, version)
);
