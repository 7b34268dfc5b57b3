-- Snapshots are attached, too: attachments and connections belong to a volume or a snapshot.
ALTER TABLE attachments DROP CONSTRAINT attachments_volume_id_fkey
;;
ALTER TABLE attachments RENAME COLUMN volume_id TO subject_id
;;
ALTER TABLE attachments ADD COLUMN detaching_at BIGINT NOT NULL DEFAULT 0
;;
ALTER TABLE connections DROP CONSTRAINT connections_volume_id_fkey
;;
ALTER TABLE connections RENAME COLUMN volume_id TO subject_id
;;
ALTER TABLE snapshots ADD COLUMN attachment_count INTEGER NOT NULL DEFAULT 0
;;
ALTER TABLE snapshots ADD COLUMN export TEXT NOT NULL DEFAULT ''
;;
CREATE OR REPLACE FUNCTION count_attachments() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		UPDATE volumes SET attachment_count = attachment_count - 1 WHERE id = OLD.subject_id;
		UPDATE snapshots SET attachment_count = attachment_count - 1 WHERE id = OLD.subject_id;
	ELSE
		UPDATE volumes SET attachment_count = attachment_count + 1 WHERE id = NEW.subject_id;
		UPDATE snapshots SET attachment_count = attachment_count + 1 WHERE id = NEW.subject_id;
	END IF;
	RETURN NULL;
END $$
;;
CREATE FUNCTION touch_attached() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
	UPDATE volumes SET attachment_count = attachment_count WHERE id = NEW.subject_id;
	UPDATE snapshots SET attachment_count = attachment_count WHERE id = NEW.subject_id;
	RETURN NULL;
END $$
;;
DROP TRIGGER attachments_changed ON attachments
;;
DROP FUNCTION touch_volume()
;;
CREATE TRIGGER attachments_changed AFTER UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION touch_attached()
;;
CREATE CONSTRAINT TRIGGER snapshots_change_attached AFTER UPDATE OF attachment_count ON snapshots DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change('snapshot')
;;
CREATE FUNCTION forget_attachments() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM attachments WHERE subject_id = OLD.id;
	DELETE FROM connections WHERE subject_id = OLD.id;
	RETURN NULL;
END $$
;;
CREATE TRIGGER volumes_attachments_deleted AFTER DELETE ON volumes FOR EACH ROW EXECUTE FUNCTION forget_attachments()
;;
CREATE TRIGGER snapshots_attachments_deleted AFTER DELETE ON snapshots FOR EACH ROW EXECUTE FUNCTION forget_attachments()
