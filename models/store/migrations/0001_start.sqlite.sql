-- First step of the schema. Times are microseconds of Unix time, UTC. Triggers keep what
-- no writer may forget: the changes that feed live pages, the counters behind the totals, the
-- indexes of the name search. Statements are separated by a line of two semicolons.
CREATE TABLE volumes (
	num INTEGER PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL UNIQUE,
	backend_id TEXT NOT NULL DEFAULT '',
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	description TEXT NOT NULL DEFAULT '',
	status TEXT NOT NULL,
	status_since BIGINT NOT NULL,
	percent INTEGER NOT NULL DEFAULT -1,
	failure TEXT NOT NULL DEFAULT '',
	request_id TEXT NOT NULL DEFAULT '',
	size_gib INTEGER NOT NULL,
	snapshot_id TEXT NOT NULL DEFAULT '',
	image_id TEXT NOT NULL DEFAULT '',
	volume_type TEXT NOT NULL DEFAULT '',
	zone TEXT NOT NULL DEFAULT '',
	consistency TEXT NOT NULL DEFAULT '',
	snapshot_count INTEGER NOT NULL DEFAULT 0,
	attachment_count INTEGER NOT NULL DEFAULT 0,
	hold_us BIGINT NOT NULL DEFAULT 0,
	export TEXT NOT NULL DEFAULT '',
	created_by TEXT NOT NULL DEFAULT '',
	edited_by TEXT NOT NULL DEFAULT '',
	edited_at BIGINT NOT NULL DEFAULT 0,
	origin TEXT NOT NULL DEFAULT 'hand' CHECK (origin IN ('hand', 'schedule', 'elsewhere')),
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL DEFAULT 0,
	locked_until BIGINT NOT NULL DEFAULT 0,
	lock_reason TEXT NOT NULL DEFAULT '',
	version BIGINT NOT NULL DEFAULT 1
)
;;
CREATE INDEX volumes_by_created ON volumes (project_id, created_at, id)
;;
CREATE INDEX volumes_by_name ON volumes (project_id, name, id)
;;
CREATE INDEX volumes_by_size ON volumes (project_id, size_gib, id)
;;
CREATE INDEX volumes_by_status ON volumes (project_id, status, id)
;;
CREATE INDEX volumes_by_status_created ON volumes (project_id, status, created_at, id)
;;
CREATE INDEX volumes_by_status_name ON volumes (project_id, status, name, id)
;;
CREATE INDEX volumes_by_status_size ON volumes (project_id, status, size_gib, id)
;;
CREATE INDEX volumes_by_source ON volumes (snapshot_id) WHERE snapshot_id <> ''
;;
CREATE UNIQUE INDEX volumes_by_backend_id ON volumes (backend_id) WHERE backend_id <> ''
;;
CREATE TABLE attachments (
	volume_id TEXT NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
	server_id TEXT NOT NULL,
	server_name TEXT NOT NULL DEFAULT '',
	device TEXT NOT NULL DEFAULT '',
	attached_at BIGINT NOT NULL,
	used_at BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (volume_id, server_id)
)
;;
CREATE INDEX attachments_by_server ON attachments (server_id, volume_id)
;;
CREATE TABLE connections (
	id TEXT NOT NULL PRIMARY KEY,
	volume_id TEXT NOT NULL REFERENCES volumes (id) ON DELETE CASCADE,
	server_id TEXT NOT NULL DEFAULT '',
	address TEXT NOT NULL DEFAULT '',
	identity TEXT NOT NULL DEFAULT '',
	since BIGINT NOT NULL,
	active_at BIGINT NOT NULL,
	bytes_read BIGINT NOT NULL DEFAULT 0,
	bytes_written BIGINT NOT NULL DEFAULT 0
)
;;
CREATE INDEX connections_by_volume ON connections (volume_id, since)
;;
CREATE TABLE snapshots (
	num INTEGER PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL UNIQUE,
	backend_id TEXT NOT NULL DEFAULT '',
	project_id TEXT NOT NULL,
	volume_id TEXT NOT NULL,
	volume_name TEXT NOT NULL DEFAULT '',
	name TEXT NOT NULL,
	description TEXT NOT NULL DEFAULT '',
	status TEXT NOT NULL,
	status_since BIGINT NOT NULL,
	percent INTEGER NOT NULL DEFAULT -1,
	failure TEXT NOT NULL DEFAULT '',
	request_id TEXT NOT NULL DEFAULT '',
	size_gib INTEGER NOT NULL,
	consistency TEXT NOT NULL DEFAULT '' CHECK (consistency IN ('', 'clean', 'crash', 'smear')),
	taken_from TEXT NOT NULL DEFAULT '',
	held_us BIGINT NOT NULL DEFAULT 0,
	created_by TEXT NOT NULL DEFAULT '',
	edited_by TEXT NOT NULL DEFAULT '',
	edited_at BIGINT NOT NULL DEFAULT 0,
	origin TEXT NOT NULL DEFAULT 'hand' CHECK (origin IN ('hand', 'schedule', 'elsewhere')),
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL DEFAULT 0,
	locked_until BIGINT NOT NULL DEFAULT 0,
	lock_reason TEXT NOT NULL DEFAULT '',
	version BIGINT NOT NULL DEFAULT 1
)
;;
CREATE INDEX snapshots_by_created ON snapshots (project_id, created_at, id)
;;
CREATE INDEX snapshots_by_name ON snapshots (project_id, name, id)
;;
CREATE INDEX snapshots_by_size ON snapshots (project_id, size_gib, id)
;;
CREATE INDEX snapshots_by_status ON snapshots (project_id, status, id)
;;
CREATE INDEX snapshots_by_status_created ON snapshots (project_id, status, created_at, id)
;;
CREATE INDEX snapshots_by_status_name ON snapshots (project_id, status, name, id)
;;
CREATE INDEX snapshots_by_status_size ON snapshots (project_id, status, size_gib, id)
;;
CREATE INDEX snapshots_by_volume ON snapshots (volume_id, created_at, id)
;;
CREATE UNIQUE INDEX snapshots_by_backend_id ON snapshots (backend_id) WHERE backend_id <> ''
;;
CREATE TABLE servers (
	id TEXT NOT NULL PRIMARY KEY,
	project_id TEXT NOT NULL,
	name TEXT NOT NULL,
	status TEXT NOT NULL DEFAULT '',
	address TEXT NOT NULL DEFAULT '',
	origin TEXT NOT NULL DEFAULT 'elsewhere' CHECK (origin IN ('hand', 'elsewhere')),
	created_by TEXT NOT NULL DEFAULT '',
	created_at BIGINT NOT NULL,
	version BIGINT NOT NULL DEFAULT 1
)
;;
CREATE INDEX servers_by_name ON servers (project_id, name, id)
;;
-- Certificates tell registered servers apart by name, whatever the case of its letters.
CREATE UNIQUE INDEX servers_registered ON servers (project_id, lower(name)) WHERE origin = 'hand'
;;
CREATE TABLE images (
	id TEXT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL,
	size_bytes BIGINT NOT NULL
)
;;
CREATE TABLE operations (
	num INTEGER PRIMARY KEY AUTOINCREMENT,
	id TEXT NOT NULL UNIQUE,
	project_id TEXT NOT NULL,
	kind TEXT NOT NULL,
	subject_type TEXT NOT NULL,
	subject_id TEXT NOT NULL,
	subject_name TEXT NOT NULL DEFAULT '',
	lane TEXT NOT NULL,
	params TEXT NOT NULL DEFAULT '{}',
	state TEXT NOT NULL CHECK (state IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
	step INTEGER NOT NULL DEFAULT 0,
	steps INTEGER NOT NULL DEFAULT 1,
	percent INTEGER NOT NULL DEFAULT -1,
	attempts INTEGER NOT NULL DEFAULT 0,
	run_at BIGINT NOT NULL,
	lease_owner TEXT NOT NULL DEFAULT '',
	lease_until BIGINT NOT NULL DEFAULT 0,
	last_error TEXT NOT NULL DEFAULT '',
	request_id TEXT NOT NULL DEFAULT '',
	called_at BIGINT NOT NULL DEFAULT 0,
	form_key TEXT NOT NULL DEFAULT '',
	asked_by TEXT NOT NULL DEFAULT '',
	asked_at BIGINT NOT NULL,
	started_at BIGINT NOT NULL DEFAULT 0,
	finished_at BIGINT NOT NULL DEFAULT 0,
	CHECK ((finished_at > 0) = (state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')))
)
;;
CREATE INDEX operations_due ON operations (run_at, num) WHERE finished_at = 0
;;
CREATE INDEX operations_by_lane ON operations (lane, num) WHERE finished_at = 0
;;
CREATE INDEX operations_running ON operations (lane) WHERE state = 'RUNNING'
;;
CREATE INDEX operations_by_project ON operations (project_id, num)
;;
CREATE INDEX operations_by_state ON operations (project_id, state, num)
;;
CREATE INDEX operations_by_subject ON operations (subject_id, num)
;;
CREATE UNIQUE INDEX operations_by_form_key ON operations (form_key) WHERE form_key <> ''
;;
CREATE TABLE changes (
	seq INTEGER PRIMARY KEY AUTOINCREMENT,
	kind TEXT NOT NULL,
	id TEXT NOT NULL,
	project_id TEXT NOT NULL,
	inserted INTEGER NOT NULL DEFAULT 0,
	deleted INTEGER NOT NULL DEFAULT 0
)
;;
CREATE TABLE counters (
	kind TEXT NOT NULL,
	project_id TEXT NOT NULL,
	n BIGINT NOT NULL,
	PRIMARY KEY (kind, project_id)
)
;;
CREATE TABLE mirror (
	kind TEXT NOT NULL PRIMARY KEY,
	seen_at BIGINT NOT NULL DEFAULT 0,
	failed_since BIGINT NOT NULL DEFAULT 0,
	failure TEXT NOT NULL DEFAULT ''
)
;;
CREATE TABLE users (
	id TEXT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	password_hash TEXT NOT NULL,
	role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
	project_id TEXT NOT NULL,
	disabled INTEGER NOT NULL DEFAULT 0,
	created_at BIGINT NOT NULL,
	seen_at BIGINT NOT NULL DEFAULT 0
)
;;
CREATE INDEX users_by_project ON users (project_id, name)
;;
CREATE TABLE sessions (
	id TEXT NOT NULL PRIMARY KEY,
	secret_hash TEXT NOT NULL,
	csrf TEXT NOT NULL,
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	address TEXT NOT NULL DEFAULT '',
	browser TEXT NOT NULL DEFAULT '',
	created_at BIGINT NOT NULL,
	seen_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
)
;;
CREATE INDEX sessions_by_user ON sessions (user_id)
;;
CREATE INDEX sessions_by_expiry ON sessions (expires_at)
;;
CREATE TABLE login_failures (
	who TEXT NOT NULL PRIMARY KEY,
	failures INTEGER NOT NULL,
	first_at BIGINT NOT NULL,
	blocked_until BIGINT NOT NULL DEFAULT 0
)
;;
CREATE INDEX login_failures_by_first ON login_failures (first_at)
;;
CREATE TABLE audit (
	num INTEGER PRIMARY KEY AUTOINCREMENT,
	at BIGINT NOT NULL,
	project_id TEXT NOT NULL,
	user_name TEXT NOT NULL,
	address TEXT NOT NULL DEFAULT '',
	action TEXT NOT NULL,
	subject_type TEXT NOT NULL DEFAULT '',
	subject_id TEXT NOT NULL DEFAULT '',
	subject_name TEXT NOT NULL DEFAULT '',
	detail TEXT NOT NULL DEFAULT '',
	outcome TEXT NOT NULL DEFAULT '',
	request_id TEXT NOT NULL DEFAULT ''
)
;;
CREATE INDEX audit_by_project ON audit (project_id, num)
;;
CREATE VIRTUAL TABLE volumes_fts USING fts5 (name, content='', contentless_delete=1, tokenize='trigram case_sensitive 1')
;;
CREATE VIRTUAL TABLE volumes_grams USING fts5 (grams, content='', contentless_delete=1, detail=none, tokenize='ascii')
;;
CREATE TRIGGER volumes_name_inserted AFTER INSERT ON volumes BEGIN
	INSERT INTO volumes_fts (rowid, name) VALUES (NEW.num, fold_name(NEW.name));
	INSERT INTO volumes_grams (rowid, grams) VALUES (NEW.num, name_grams(NEW.name));
END
;;
CREATE TRIGGER volumes_name_updated AFTER UPDATE OF name ON volumes WHEN NEW.name <> OLD.name BEGIN
	DELETE FROM volumes_fts WHERE rowid = OLD.num;
	DELETE FROM volumes_grams WHERE rowid = OLD.num;
	INSERT INTO volumes_fts (rowid, name) VALUES (NEW.num, fold_name(NEW.name));
	INSERT INTO volumes_grams (rowid, grams) VALUES (NEW.num, name_grams(NEW.name));
END
;;
CREATE TRIGGER volumes_name_deleted AFTER DELETE ON volumes BEGIN
	DELETE FROM volumes_fts WHERE rowid = OLD.num;
	DELETE FROM volumes_grams WHERE rowid = OLD.num;
END
;;
CREATE TRIGGER volumes_counted_in AFTER INSERT ON volumes BEGIN
	INSERT INTO counters (kind, project_id, n) VALUES ('volume', NEW.project_id, 1)
	ON CONFLICT (kind, project_id) DO UPDATE SET n = n + 1;
END
;;
CREATE TRIGGER volumes_counted_out AFTER DELETE ON volumes BEGIN
	UPDATE counters SET n = n - 1 WHERE kind = 'volume' AND project_id = OLD.project_id;
END
;;
CREATE VIRTUAL TABLE snapshots_fts USING fts5 (name, content='', contentless_delete=1, tokenize='trigram case_sensitive 1')
;;
CREATE VIRTUAL TABLE snapshots_grams USING fts5 (grams, content='', contentless_delete=1, detail=none, tokenize='ascii')
;;
CREATE TRIGGER snapshots_name_inserted AFTER INSERT ON snapshots BEGIN
	INSERT INTO snapshots_fts (rowid, name) VALUES (NEW.num, fold_name(NEW.name));
	INSERT INTO snapshots_grams (rowid, grams) VALUES (NEW.num, name_grams(NEW.name));
END
;;
CREATE TRIGGER snapshots_name_updated AFTER UPDATE OF name ON snapshots WHEN NEW.name <> OLD.name BEGIN
	DELETE FROM snapshots_fts WHERE rowid = OLD.num;
	DELETE FROM snapshots_grams WHERE rowid = OLD.num;
	INSERT INTO snapshots_fts (rowid, name) VALUES (NEW.num, fold_name(NEW.name));
	INSERT INTO snapshots_grams (rowid, grams) VALUES (NEW.num, name_grams(NEW.name));
END
;;
CREATE TRIGGER snapshots_name_deleted AFTER DELETE ON snapshots BEGIN
	DELETE FROM snapshots_fts WHERE rowid = OLD.num;
	DELETE FROM snapshots_grams WHERE rowid = OLD.num;
END
;;
CREATE TRIGGER snapshots_counted_in AFTER INSERT ON snapshots BEGIN
	INSERT INTO counters (kind, project_id, n) VALUES ('snapshot', NEW.project_id, 1)
	ON CONFLICT (kind, project_id) DO UPDATE SET n = n + 1;
END
;;
CREATE TRIGGER snapshots_counted_out AFTER DELETE ON snapshots BEGIN
	UPDATE counters SET n = n - 1 WHERE kind = 'snapshot' AND project_id = OLD.project_id;
END
;;
CREATE TRIGGER volumes_change_inserted AFTER INSERT ON volumes BEGIN
	INSERT INTO changes (kind, id, project_id, inserted) VALUES ('volume', NEW.id, NEW.project_id, 1);
END
;;
CREATE TRIGGER volumes_change_updated AFTER UPDATE OF backend_id, name, description, status, percent, failure, size_gib, snapshot_count, attachment_count, locked_until, version ON volumes BEGIN
	INSERT INTO changes (kind, id, project_id) VALUES ('volume', NEW.id, NEW.project_id);
END
;;
CREATE TRIGGER volumes_change_deleted AFTER DELETE ON volumes BEGIN
	INSERT INTO changes (kind, id, project_id, deleted) VALUES ('volume', OLD.id, OLD.project_id, 1);
END
;;
CREATE TRIGGER snapshots_change_inserted AFTER INSERT ON snapshots BEGIN
	INSERT INTO changes (kind, id, project_id, inserted) VALUES ('snapshot', NEW.id, NEW.project_id, 1);
END
;;
CREATE TRIGGER snapshots_change_updated AFTER UPDATE OF backend_id, volume_id, volume_name, name, description, status, percent, failure, size_gib, consistency, locked_until, version ON snapshots BEGIN
	INSERT INTO changes (kind, id, project_id) VALUES ('snapshot', NEW.id, NEW.project_id);
END
;;
CREATE TRIGGER snapshots_change_deleted AFTER DELETE ON snapshots BEGIN
	INSERT INTO changes (kind, id, project_id, deleted) VALUES ('snapshot', OLD.id, OLD.project_id, 1);
END
;;
CREATE TRIGGER operations_change_inserted AFTER INSERT ON operations BEGIN
	INSERT INTO changes (kind, id, project_id, inserted) VALUES ('operation', NEW.id, NEW.project_id, 1);
END
;;
CREATE TRIGGER operations_change_updated AFTER UPDATE OF state, step, percent, attempts, last_error ON operations WHEN NEW.state <> OLD.state OR NEW.step <> OLD.step OR NEW.percent <> OLD.percent OR NEW.attempts <> OLD.attempts OR NEW.last_error <> OLD.last_error BEGIN
	INSERT INTO changes (kind, id, project_id) VALUES ('operation', NEW.id, NEW.project_id);
END
;;
CREATE TRIGGER operations_change_deleted AFTER DELETE ON operations BEGIN
	INSERT INTO changes (kind, id, project_id, deleted) VALUES ('operation', OLD.id, OLD.project_id, 1);
END
;;
CREATE TRIGGER snapshots_of_volume_in AFTER INSERT ON snapshots BEGIN
	UPDATE volumes SET snapshot_count = snapshot_count + 1 WHERE id = NEW.volume_id;
END
;;
CREATE TRIGGER snapshots_of_volume_out AFTER DELETE ON snapshots BEGIN
	UPDATE volumes SET snapshot_count = snapshot_count - 1 WHERE id = OLD.volume_id;
END
;;
CREATE TRIGGER snapshots_of_volume_moved AFTER UPDATE OF volume_id ON snapshots WHEN NEW.volume_id <> OLD.volume_id BEGIN
	UPDATE volumes SET snapshot_count = snapshot_count - 1 WHERE id = OLD.volume_id;
	UPDATE volumes SET snapshot_count = snapshot_count + 1 WHERE id = NEW.volume_id;
END
;;
CREATE TRIGGER volumes_with_snapshots AFTER INSERT ON volumes WHEN EXISTS (SELECT 1 FROM snapshots WHERE volume_id = NEW.id) BEGIN
	UPDATE volumes SET snapshot_count = (SELECT count(*) FROM snapshots WHERE volume_id = NEW.id) WHERE id = NEW.id;
END
;;
CREATE TRIGGER attachments_in AFTER INSERT ON attachments BEGIN
	UPDATE volumes SET attachment_count = attachment_count + 1 WHERE id = NEW.volume_id;
END
;;
CREATE TRIGGER attachments_out AFTER DELETE ON attachments BEGIN
	UPDATE volumes SET attachment_count = attachment_count - 1 WHERE id = OLD.volume_id;
END
;;
CREATE TRIGGER attachments_changed AFTER UPDATE ON attachments BEGIN
	UPDATE volumes SET attachment_count = attachment_count WHERE id = NEW.volume_id;
END
