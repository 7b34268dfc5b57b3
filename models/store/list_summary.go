package store

import (
	"context"

	"blockconsole/models"
)

// ListSummary reads them all in one statement.
func (s *Store) ListSummary(ctx context.Context, actor models.Actor, kind models.SubjectType) (models.ListSummary, error) {
	total, args := "kind = ?", []any{kind}
	if scope := s.scope(actor.Project); scope != everyProject {
		total, args = "kind = ? AND project_id = ?", []any{kind, scope}
	}
	var f models.ListSummary
	return f, s.read(ctx).Raw(`SELECT
		COALESCE((SELECT sum(n) FROM counters WHERE `+total+`), 0) AS total,
		COALESCE((SELECT seen_at FROM mirror WHERE kind = ?), 0) AS seen_at,
		COALESCE((SELECT failed_since FROM mirror WHERE kind = ?), 0) AS failed_since,
		COALESCE((SELECT failure FROM mirror WHERE kind = ?), '') AS failure,
		COALESCE((SELECT max(seq) FROM changes), 0) AS last_change`, append(args, kind, kind, kind)...).Scan(&f).Error
}
