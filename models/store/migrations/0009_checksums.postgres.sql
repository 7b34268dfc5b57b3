-- What is known of whether a snapshot has the bytes that it was made with: see models.Checks.
ALTER TABLE snapshots ADD COLUMN checksummed_at BIGINT NOT NULL DEFAULT 0
;;
ALTER TABLE snapshots ADD COLUMN checked_at BIGINT NOT NULL DEFAULT 0
;;
ALTER TABLE snapshots ADD COLUMN damage TEXT NOT NULL DEFAULT ''
;;
CREATE CONSTRAINT TRIGGER snapshots_checks_updated AFTER UPDATE OF checksummed_at, checked_at, damage ON snapshots DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.checksummed_at <> OLD.checksummed_at OR NEW.checked_at <> OLD.checked_at OR NEW.damage <> OLD.damage) EXECUTE FUNCTION note_change('snapshot')
