-- Changes that wait for approval. Approvals stand in the body.
CREATE TABLE change_request (
	id         {{key}} PRIMARY KEY,
	state      {{key}} NOT NULL,
	proposer   {{key}} NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	revision   BIGINT NOT NULL,
	body       TEXT NOT NULL
);
CREATE INDEX change_request_created ON change_request (created_at, id);
CREATE INDEX change_request_state ON change_request (state, proposer, expires_at);
