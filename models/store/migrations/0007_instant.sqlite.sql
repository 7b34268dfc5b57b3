-- The instant of a snapshot; of those that exist the console knows only when they were asked for. What was copied
-- while servers wrote to it is called none. SQLite changes no CHECK, so the column is replaced.
ALTER TABLE snapshots ADD COLUMN taken_at BIGINT NOT NULL DEFAULT 0
;;
DROP TRIGGER snapshots_change_updated
;;
ALTER TABLE snapshots ADD COLUMN taken_as TEXT NOT NULL DEFAULT '' CHECK (taken_as IN ('', 'clean', 'crash', 'none'))
;;
UPDATE snapshots SET taken_as = CASE consistency WHEN 'smear' THEN 'none' ELSE consistency END,
	taken_at = CASE WHEN status = 'CREATING' OR backend_id = '' THEN 0 ELSE created_at END
;;
ALTER TABLE snapshots DROP COLUMN consistency
;;
ALTER TABLE snapshots RENAME COLUMN taken_as TO consistency
;;
UPDATE volumes SET consistency = 'none' WHERE consistency = 'smear'
;;
CREATE TRIGGER snapshots_change_updated AFTER UPDATE OF backend_id, volume_id, volume_name, name, description, status, percent, failure, size_gib, consistency, taken_at, locked_until, version ON snapshots BEGIN
	INSERT INTO changes (kind, id, project_id) VALUES ('snapshot', NEW.id, NEW.project_id);
END
;;
CREATE INDEX snapshots_by_taken ON snapshots (project_id, taken_at, id)
;;
CREATE INDEX snapshots_by_status_taken ON snapshots (project_id, status, taken_at, id)
;;
CREATE INDEX snapshots_by_volume_taken ON snapshots (volume_id, taken_at, id)
