-- The search of the audit: what an entry says, and every piece of three letters of it.
CREATE FUNCTION audit_text(user_name TEXT, address TEXT, action TEXT, subject_id TEXT, subject_name TEXT, detail TEXT, request_id TEXT)
RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT fold_name(user_name || chr(10) || address || chr(10) || action || chr(10) || subject_id || chr(10) || subject_name || chr(10) || detail || chr(10) || request_id)
$$
;;
CREATE FUNCTION trigrams(part TEXT) RETURNS TEXT[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
	SELECT COALESCE(array_agg(DISTINCT substr(part, i, 3)), '{}') FROM generate_series(1, char_length(part) - 2) AS i
$$
;;
CREATE INDEX audit_trigrams ON audit USING gin (trigrams(audit_text(user_name, address, action, subject_id, subject_name, detail, request_id)))
;;
CREATE INDEX audit_by_action ON audit (project_id, action, num)
;;
CREATE INDEX audit_by_outcome ON audit (project_id, outcome, num)
