-- Snapshots are attached, too: attachments and connections belong to a volume or a snapshot.
CREATE TABLE attachments_of_subjects (
	subject_id TEXT NOT NULL,
	server_id TEXT NOT NULL,
	server_name TEXT NOT NULL DEFAULT '',
	device TEXT NOT NULL DEFAULT '',
	attached_at BIGINT NOT NULL,
	used_at BIGINT NOT NULL DEFAULT 0,
	detaching_at BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (subject_id, server_id)
)
;;
INSERT INTO attachments_of_subjects (subject_id, server_id, server_name, device, attached_at, used_at)
SELECT volume_id, server_id, server_name, device, attached_at, used_at FROM attachments
;;
DROP TABLE attachments
;;
ALTER TABLE attachments_of_subjects RENAME TO attachments
;;
CREATE INDEX attachments_by_server ON attachments (server_id, subject_id)
;;
DROP TABLE connections
;;
CREATE TABLE connections (
	id TEXT NOT NULL PRIMARY KEY,
	subject_id TEXT NOT NULL,
	server_id TEXT NOT NULL DEFAULT '',
	address TEXT NOT NULL DEFAULT '',
	identity TEXT NOT NULL DEFAULT '',
	since BIGINT NOT NULL,
	active_at BIGINT NOT NULL,
	bytes_read BIGINT NOT NULL DEFAULT 0,
	bytes_written BIGINT NOT NULL DEFAULT 0
)
;;
CREATE INDEX connections_by_subject ON connections (subject_id, since)
;;
ALTER TABLE snapshots ADD COLUMN attachment_count INTEGER NOT NULL DEFAULT 0
;;
ALTER TABLE snapshots ADD COLUMN export TEXT NOT NULL DEFAULT ''
;;
CREATE TRIGGER attachments_in AFTER INSERT ON attachments BEGIN
	UPDATE volumes SET attachment_count = attachment_count + 1 WHERE id = NEW.subject_id;
	UPDATE snapshots SET attachment_count = attachment_count + 1 WHERE id = NEW.subject_id;
END
;;
CREATE TRIGGER attachments_out AFTER DELETE ON attachments BEGIN
	UPDATE volumes SET attachment_count = attachment_count - 1 WHERE id = OLD.subject_id;
	UPDATE snapshots SET attachment_count = attachment_count - 1 WHERE id = OLD.subject_id;
END
;;
CREATE TRIGGER attachments_changed AFTER UPDATE ON attachments BEGIN
	UPDATE volumes SET attachment_count = attachment_count WHERE id = NEW.subject_id;
	UPDATE snapshots SET attachment_count = attachment_count WHERE id = NEW.subject_id;
END
;;
CREATE TRIGGER snapshots_change_attached AFTER UPDATE OF attachment_count ON snapshots BEGIN
	INSERT INTO changes (kind, id, project_id) VALUES ('snapshot', NEW.id, NEW.project_id);
END
;;
CREATE TRIGGER volumes_attachments_deleted AFTER DELETE ON volumes BEGIN
	DELETE FROM attachments WHERE subject_id = OLD.id;
	DELETE FROM connections WHERE subject_id = OLD.id;
END
;;
CREATE TRIGGER snapshots_attachments_deleted AFTER DELETE ON snapshots BEGIN
	DELETE FROM attachments WHERE subject_id = OLD.id;
	DELETE FROM connections WHERE subject_id = OLD.id;
END
