-- The search of the audit: every piece of three letters of what an entry says, in the order of the entries.
CREATE VIRTUAL TABLE audit_fts USING fts5 (text, content='', contentless_delete=1, tokenize='trigram case_sensitive 1')
;;
INSERT INTO audit_fts (rowid, text)
SELECT num, fold_name(user_name || char(10) || address || char(10) || action || char(10) || subject_id || char(10) || subject_name || char(10) || detail || char(10) || request_id) FROM audit
;;
CREATE TRIGGER audit_text_inserted AFTER INSERT ON audit BEGIN
	INSERT INTO audit_fts (rowid, text) VALUES (NEW.num,
		fold_name(NEW.user_name || char(10) || NEW.address || char(10) || NEW.action || char(10) || NEW.subject_id || char(10) || NEW.subject_name || char(10) || NEW.detail || char(10) || NEW.request_id));
END
;;
CREATE TRIGGER audit_text_deleted AFTER DELETE ON audit BEGIN
	DELETE FROM audit_fts WHERE rowid = OLD.num;
END
;;
CREATE INDEX audit_by_action ON audit (project_id, action, num)
;;
CREATE INDEX audit_by_outcome ON audit (project_id, outcome, num)
