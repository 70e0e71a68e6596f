-- Numbers without gaps. Their rows are locked until the commit.
CREATE TABLE counter (
	name  {{key}} PRIMARY KEY,
	value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('epoch', 1), ('audit', 0), ('log', 0);

-- Small facts about the installation.
CREATE TABLE setting (
	name  {{key}} PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE environment (
	key       {{key}} PRIMARY KEY,
	protected BOOLEAN NOT NULL,
	version   BIGINT NOT NULL
);

CREATE TABLE team (
	key  {{key}} PRIMARY KEY,
	body TEXT NOT NULL
);

-- An archived flag stays, so that its key is never used again.
CREATE TABLE flag (
	key          {{key}} PRIMARY KEY,
	body         TEXT NOT NULL,
	revision     BIGINT NOT NULL,
	created_at   BIGINT NOT NULL,
	created_by   TEXT NOT NULL,
	archived_at  BIGINT,
	archived_by  TEXT NOT NULL DEFAULT '',
	archived_why TEXT NOT NULL DEFAULT ''
);

CREATE TABLE flag_config (
	environment {{key}} NOT NULL REFERENCES environment (key),
	flag        {{key}} NOT NULL REFERENCES flag (key),
	body        TEXT NOT NULL,
	version     BIGINT NOT NULL,
	PRIMARY KEY (environment, flag)
);

CREATE TABLE segment (
	key      {{key}} PRIMARY KEY,
	body     TEXT NOT NULL,
	revision BIGINT NOT NULL
);

CREATE TABLE metric (
	key      {{key}} PRIMARY KEY,
	body     TEXT NOT NULL,
	revision BIGINT NOT NULL
);

CREATE TABLE rollout (
	id          {{key}} PRIMARY KEY,
	environment {{key}} NOT NULL REFERENCES environment (key),
	flag        {{key}} NOT NULL REFERENCES flag (key),
	live        BOOLEAN NOT NULL,
	started_at  BIGINT NOT NULL,
	revision    BIGINT NOT NULL,
	body        TEXT NOT NULL
);
CREATE UNIQUE INDEX rollout_live ON rollout (environment, flag) WHERE live;
CREATE INDEX rollout_started ON rollout (started_at, id);

CREATE TABLE evidence (
	rollout {{key}} PRIMARY KEY REFERENCES rollout (id),
	body    TEXT NOT NULL
);

CREATE TABLE audit (
	seq         {{serial}} PRIMARY KEY,
	at          BIGINT NOT NULL,
	environment {{key}} NOT NULL,
	version     BIGINT NOT NULL,
	actor       {{key}} NOT NULL,
	subject     {{key}} NOT NULL,
	body        TEXT NOT NULL
);
CREATE UNIQUE INDEX audit_version ON audit (environment, version) WHERE version > 0;
CREATE INDEX audit_environment ON audit (environment, seq);
CREATE INDEX audit_subject ON audit (subject, seq);
CREATE INDEX audit_actor ON audit (actor, seq);

CREATE TABLE token (
	id         {{key}} PRIMARY KEY,
	hash       {{blob}} NOT NULL,
	created_at BIGINT NOT NULL,
	body       TEXT NOT NULL
);

-- The telemetry log, and the ids of what it holds or held a while ago.
CREATE TABLE log (
	seq         {{serial}} PRIMARY KEY,
	kind        TEXT NOT NULL,
	environment TEXT NOT NULL,
	id          TEXT NOT NULL,
	at          BIGINT NOT NULL,
	body        {{blob}} NOT NULL
);
CREATE TABLE log_id (
	id          {{key}} NOT NULL,
	environment {{key}} NOT NULL,
	kind        {{key}} NOT NULL,
	at          BIGINT NOT NULL,
	PRIMARY KEY (id, environment, kind)
);
CREATE INDEX log_id_at ON log_id (at);

CREATE TABLE checkpoint (
	name  {{key}} PRIMARY KEY,
	seq   BIGINT NOT NULL,
	state {{blob}} NOT NULL
);

CREATE TABLE lease (
	name   {{key}} PRIMARY KEY,
	holder TEXT NOT NULL,
	fence  BIGINT NOT NULL,
	until  BIGINT NOT NULL
);

CREATE TABLE instance (
	environment {{key}} NOT NULL,
	id          {{key}} NOT NULL,
	last_seen   BIGINT NOT NULL,
	body        TEXT NOT NULL,
	PRIMARY KEY (environment, id)
);
CREATE INDEX instance_seen ON instance (last_seen);
