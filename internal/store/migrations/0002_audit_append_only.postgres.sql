CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
-- Telemetry is compressed by its senders, or not worth the time.
ALTER TABLE log ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE checkpoint ALTER COLUMN state SET STORAGE EXTERNAL;
