package models

import "context"

// ListFacts is what a list page says beside its rows.
type ListFacts struct {
	Total      int64 // rows of the unfiltered list
	SeenAt     int64 // when the backend was read last; 0: never
	LastChange int64 // the newest change when the page was made: live news begin after it
}

// ListFacts reads them all in one statement.
func (s *Store) ListFacts(ctx context.Context, actor Actor, kind SubjectType) (ListFacts, error) {
	var f ListFacts
	return f, s.read(ctx).Raw(`SELECT
		COALESCE((SELECT n FROM counters WHERE kind = ? AND project_id = ?), 0) AS total,
		COALESCE((SELECT seen_at FROM mirror WHERE kind = ?), 0) AS seen_at,
		COALESCE((SELECT max(seq) FROM changes), 0) AS last_change`, kind, actor.Project, kind).Scan(&f).Error
}
