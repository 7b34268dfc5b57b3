-- Refusals that repeat are one line of the audit with a count: see models/store/audit.go.
ALTER TABLE audit ADD COLUMN count BIGINT NOT NULL DEFAULT 1
;;
ALTER TABLE audit ADD COLUMN last_at BIGINT NOT NULL DEFAULT 0
;;
ALTER TABLE audit ADD COLUMN fold TEXT NOT NULL DEFAULT ''
;;
CREATE UNIQUE INDEX audit_by_fold ON audit (fold) WHERE fold <> ''
;;
CREATE INDEX audit_refusals ON audit (user_name, at) WHERE fold <> ''
;;
-- What a form key was used for: see models/store/enqueue.go.
ALTER TABLE operations ADD COLUMN form_use TEXT NOT NULL DEFAULT ''
;;
-- Keys that all consoles on the database share: see models/store/sessions.go.
CREATE TABLE secrets (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
)
;;
-- However a session ends, every console ends its live streams: see handlers/live.go.
CREATE TRIGGER sessions_change_deleted AFTER DELETE ON sessions BEGIN
	INSERT INTO changes (kind, id, project_id, deleted) VALUES ('session', OLD.id, '', 1);
END
