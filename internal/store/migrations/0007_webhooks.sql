-- Where a webhook is and what signs its messages are encrypted, in target.
CREATE TABLE webhook (
	key      {{key}} PRIMARY KEY,
	body     TEXT NOT NULL,
	target   {{blob}} NOT NULL,
	revision BIGINT NOT NULL,
	failures BIGINT NOT NULL DEFAULT 0, -- in a row
	rest     BIGINT NOT NULL DEFAULT 0  -- until when it is left alone
);

-- What webhooks are to be told, and how far that has come.
CREATE TABLE delivery (
	webhook  {{key}} NOT NULL REFERENCES webhook (key) ON DELETE CASCADE,
	seq      BIGINT NOT NULL REFERENCES audit (seq),
	state    {{key}} NOT NULL,
	attempts BIGINT NOT NULL,
	due      BIGINT NOT NULL,
	status   BIGINT NOT NULL,
	error    TEXT NOT NULL,
	queued   BIGINT NOT NULL,
	at       BIGINT NOT NULL,
	PRIMARY KEY (webhook, seq)
);
CREATE INDEX delivery_state ON delivery (webhook, state, seq);
CREATE INDEX delivery_due ON delivery (due) WHERE state = 'pending';
