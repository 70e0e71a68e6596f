-- What agents have used of their envelopes, by the person behind them: a row
-- for each change that raised something.
CREATE TABLE agent_usage (
	id           {{key}} PRIMARY KEY,
	person       {{key}} NOT NULL,
	token        {{key}} NOT NULL,
	at           BIGINT NOT NULL,
	rollout      {{key}} NOT NULL, -- that it started; '' if none
	unit_minutes BIGINT NOT NULL
);
CREATE INDEX agent_usage_person ON agent_usage (person, at);

-- Changes that were planned, so that they can be made by their digest alone.
CREATE TABLE planned_change (
	token     {{key}} NOT NULL,
	digest    {{key}} NOT NULL,
	at        BIGINT NOT NULL,
	operation {{key}} NOT NULL,
	input     TEXT NOT NULL,
	PRIMARY KEY (token, digest)
);
