-- People. Who somebody is to a provider of OpenID Connect is theirs alone.
CREATE TABLE user_account (
	id        {{key}} PRIMARY KEY,
	issuer    {{key}} NOT NULL DEFAULT '',
	subject   {{key}} NOT NULL DEFAULT '',
	password  TEXT NOT NULL DEFAULT '', -- an argon2id hash; empty: none opens the account
	last_seen BIGINT NOT NULL DEFAULT 0,
	revision  BIGINT NOT NULL,
	body      TEXT NOT NULL
);
CREATE UNIQUE INDEX user_identity ON user_account (issuer, subject) WHERE issuer <> '';

-- Who is signed in where. Only the hash of a session's secret is kept.
CREATE TABLE session (
	id         {{key}} PRIMARY KEY,
	hash       {{blob}} NOT NULL,
	user_id    {{key}} NOT NULL REFERENCES user_account (id),
	created_at BIGINT NOT NULL,
	seen_at    BIGINT NOT NULL,
	proved_at  BIGINT NOT NULL -- when the person last proved who they are; 0: unknown
);
CREATE INDEX session_of_user ON session (user_id);
CREATE INDEX session_created ON session (created_at);

-- Links that are good for one use. The empty user sets an installation up.
CREATE TABLE one_time_link (
	hash       {{key}} PRIMARY KEY,
	user_id    {{key}} NOT NULL,
	expires_at BIGINT NOT NULL
);

ALTER TABLE token ADD COLUMN last_used BIGINT NOT NULL DEFAULT 0;
