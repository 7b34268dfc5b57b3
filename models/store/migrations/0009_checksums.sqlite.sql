-- What is known of whether a snapshot has the bytes that it was made with: see models.Checks.
ALTER TABLE snapshots ADD COLUMN checksummed_at BIGINT NOT NULL DEFAULT 0
;;
ALTER TABLE snapshots ADD COLUMN checked_at BIGINT NOT NULL DEFAULT 0
;;
ALTER TABLE snapshots ADD COLUMN damage TEXT NOT NULL DEFAULT ''
;;
CREATE TRIGGER snapshots_checks_updated AFTER UPDATE OF checksummed_at, checked_at, damage ON snapshots WHEN NEW.checksummed_at <> OLD.checksummed_at OR NEW.checked_at <> OLD.checked_at OR NEW.damage <> OLD.damage BEGIN
	INSERT INTO changes (kind, id, project_id) VALUES ('snapshot', NEW.id, NEW.project_id);
END
