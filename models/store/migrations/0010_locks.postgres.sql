-- Who locked an object, and when: see models/lock.go. Expired locks stay in their rows.
ALTER TABLE volumes ADD COLUMN locked_by TEXT NOT NULL DEFAULT ''
;;
ALTER TABLE volumes ADD COLUMN locked_at BIGINT NOT NULL DEFAULT 0
;;
ALTER TABLE snapshots ADD COLUMN locked_by TEXT NOT NULL DEFAULT ''
;;
ALTER TABLE snapshots ADD COLUMN locked_at BIGINT NOT NULL DEFAULT 0
;;
CREATE INDEX volumes_locked ON volumes (locked_until) WHERE locked_until > 0
;;
CREATE INDEX snapshots_locked ON snapshots (locked_until) WHERE locked_until > 0
