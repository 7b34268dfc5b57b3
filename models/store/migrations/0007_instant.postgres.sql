-- The instant of a snapshot; of those that exist the console knows only when they were asked for. What was copied
-- while servers wrote to it is called none.
ALTER TABLE snapshots ADD COLUMN taken_at BIGINT NOT NULL DEFAULT 0
;;
DROP TRIGGER snapshots_change ON snapshots
;;
ALTER TABLE snapshots DROP CONSTRAINT snapshots_consistency_check
;;
UPDATE snapshots SET consistency = CASE consistency WHEN 'smear' THEN 'none' ELSE consistency END,
	taken_at = CASE WHEN status = 'CREATING' OR backend_id = '' THEN 0 ELSE created_at END
;;
ALTER TABLE snapshots ADD CONSTRAINT snapshots_consistency_check CHECK (consistency IN ('', 'clean', 'crash', 'none'))
;;
UPDATE volumes SET consistency = 'none' WHERE consistency = 'smear'
;;
CREATE CONSTRAINT TRIGGER snapshots_change AFTER INSERT OR DELETE OR UPDATE OF backend_id, volume_id, volume_name, name, description, status, percent, failure, size_gib, consistency, taken_at, locked_until, version ON snapshots DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change('snapshot')
;;
CREATE INDEX snapshots_by_taken ON snapshots (project_id, taken_at, id)
;;
CREATE INDEX snapshots_by_status_taken ON snapshots (project_id, status, taken_at, id)
;;
CREATE INDEX snapshots_by_volume_taken ON snapshots (volume_id, taken_at, id)
