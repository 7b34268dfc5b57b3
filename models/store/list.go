package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"blockconsole/models"
)

// table is what the list queries of volumes and snapshots differ in.
type table struct {
	name string             // also the prefix of its search indexes
	kind models.SubjectType // in counters
	from string             // columns and joins; the table itself is called t
}

var (
	volumeTable   = table{"volumes", models.SubjectVolume, "SELECT t.* FROM volumes t"}
	snapshotTable = table{"snapshots", models.SubjectSnapshot, `SELECT t.*, COALESCE(v.name, t.volume_name) AS volume_name, v.id IS NULL AS volume_gone
		FROM snapshots t LEFT JOIN volumes v ON v.id = t.volume_id`}
)

// ListSnapshots returns a page of the project's snapshots. ErrCursor: the cursor is
// none of this list.
func (s Snapshots) ListSnapshots(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Snapshot], error) {
	return cached(ctx, s.Store, &s.snapshotPages, s.scope(actor.Project), q, func() (models.Page[models.Snapshot], error) {
		return list(ctx, s.Store, snapshotTable, s.scope(actor.Project), q, func(r *models.Snapshot, sort string) string {
			return encodeCursor(sort, sortValue(sort, r.CreatedAt, r.Name, r.SizeGiB, r.Status), r.ID)
		})
	})
}

// ListVolumes returns a page of the project's volumes, with their attachments.
// ErrCursor: the cursor is none of this list.
func (s Volumes) ListVolumes(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Volume], error) {
	return cached(ctx, s.Store, &s.volumePages, s.scope(actor.Project), q, func() (models.Page[models.Volume], error) {
		page, err := list(ctx, s.Store, volumeTable, s.scope(actor.Project), q, func(r *models.Volume, sort string) string {
			return encodeCursor(sort, sortValue(sort, r.CreatedAt, r.Name, r.SizeGiB, r.Status), r.ID)
		})
		if err != nil {
			return page, err
		}
		return page, s.loadAttachments(ctx, page.Rows)
	})
}

func sortValue(sort string, created int64, name string, size int, status models.Status) string {
	switch strings.TrimPrefix(sort, "-") {
	case "name":
		return name
	case "size":
		return fmt.Sprint(size)
	case "status":
		return string(status)
	}
	return fmt.Sprint(created)
}

// list runs a query for one row more than the page holds: the row more says
// whether there is a next page.
func list[T any](ctx context.Context, s *Store, t table, scope string, q models.ListQuery, cursorOf func(*T, string) string) (models.Page[T], error) {
	var page models.Page[T]
	q = normalized(q, t)
	where, args, err := s.filter(ctx, t, scope, q)
	if err != nil {
		return page, err
	}
	read := func(p position) ([]T, error) {
		sql, values := pageSQL(t, where, args, q, p)
		rows := make([]T, 0, q.Size+1)
		return rows, s.read(ctx).Raw(sql, values...).Scan(&rows).Error
	}
	pos, err := positionOf(q)
	if err != nil {
		return page, err
	}
	rows, err := read(pos)
	if err != nil {
		return page, err
	}
	more := len(rows) > q.Size
	switch {
	case pos.back && !more && !pos.last: // near the beginning: show it as the whole first page
		pos = position{}
		if rows, err = read(pos); err != nil {
			return page, err
		}
		more = len(rows) > q.Size
	case pos.key != nil && !pos.back && len(rows) == 0: // what was here is gone: show the last page
		pos = position{back: true, last: true}
		if rows, err = read(pos); err != nil {
			return page, err
		}
		more = len(rows) > q.Size
	}
	rows = rows[:min(len(rows), q.Size)]
	if pos.back {
		slices.Reverse(rows)
	}
	page.Rows = rows
	if len(rows) == 0 {
		return page, nil
	}
	if pos.back && !pos.last || !pos.back && more {
		page.Next = cursorOf(&rows[len(rows)-1], q.Sort)
	}
	if pos.back && more || !pos.back && pos.key != nil {
		page.Previous = cursorOf(&rows[0], q.Sort)
	}
	return page, nil
}

// position is where a page begins: beyond a cursor, or at one of the list's ends.
type position struct {
	key  any // of the cursor; nil: at the end of the list
	id   string
	back bool // towards the beginning
	last bool // the last page
}

func positionOf(q models.ListQuery) (position, error) {
	if q.Before == "" && q.After == "" {
		return position{}, nil
	}
	c, err := decodeCursor(cmp.Or(q.Before, q.After), q.Sort)
	if err == nil && sortsByFilteredStatus(q) && c.key != string(q.Status) {
		err = models.ErrCursor // of the list of another status
	}
	return position{key: c.key, id: c.id, back: q.Before != ""}, err
}

// sortsByFilteredStatus says that the list is sorted by what all its rows have in common.
func sortsByFilteredStatus(q models.ListQuery) bool {
	return q.Status != "" && strings.TrimPrefix(q.Sort, "-") == "status"
}

// normalized makes the query one that the database understands, whatever its URL
// held.
func normalized(q models.ListQuery, t table) models.ListQuery {
	q.Sort, _ = models.ParseSort(q.Sort)
	if q.Size < 1 {
		q.Size = models.DefaultPageSize
	}
	q.Search, q.VolumeID, q.ServerID = searchable(q.Search), searchable(q.VolumeID), searchable(q.ServerID)
	q.Project = searchable(q.Project)
	q.Status = models.Status(searchable(string(q.Status)))
	if t.kind == models.SubjectSnapshot {
		q.ServerID = ""
	} else {
		q.VolumeID = ""
	}
	return q
}

// pageSQL is the query of a page. Each combination of filter and order is served
// by an index; a test asks the databases.
func pageSQL(t table, where string, args []any, q models.ListQuery, pos position) (string, []any) {
	descending := strings.HasPrefix(q.Sort, "-") != pos.back
	column := "t." + sortKeys[strings.TrimPrefix(q.Sort, "-")].column
	direction, beyond := "ASC", ">"
	if descending {
		direction, beyond = "DESC", "<"
	}
	args = slices.Clone(args)
	if sortsByFilteredStatus(q) { // then the id alone is the place: SQLite finds no row by a pair whose first is given
		if pos.key != nil {
			where += " AND t.id " + beyond + " ?"
			args = append(args, pos.id)
		}
		return fmt.Sprintf("%s WHERE %s ORDER BY t.id %s LIMIT ?", t.from, where, direction), append(args, q.Size+1)
	}
	if pos.key != nil {
		where += fmt.Sprintf(" AND (%s, t.id) %s (?, ?)", column, beyond)
		args = append(args, pos.key, pos.id)
	}
	sql := fmt.Sprintf("%s WHERE %s ORDER BY %s %s, t.id %s LIMIT ?", t.from, where, column, direction, direction)
	return sql, append(args, q.Size+1)
}

// filter is the WHERE clause of a list.
func (s *Store) filter(ctx context.Context, t table, scope string, q models.ListQuery) (string, []any, error) {
	selective := q.VolumeID != "" || q.ServerID != ""
	var search string
	var values []any
	if q.Search != "" {
		common, err := s.isCommon(ctx, t, q.Search)
		if err != nil {
			return "", nil, err
		}
		search, values = s.searchClause(t, q.Search, common)
		selective = selective || !common
	}
	var where []string
	var args []any
	add := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	for _, project := range projectFilters(q, scope) {
		if selective {
			// The filter finds few rows; SQLite would rather walk the whole project in the order of the list.
			add(s.unindexed("t.project_id")+" = ?", project)
		} else {
			add("t.project_id = ?", project)
		}
	}
	if q.Status != "" {
		add("t.status = ?", q.Status)
	}
	if q.VolumeID != "" {
		add("t.volume_id = ?", q.VolumeID)
	}
	if q.ServerID != "" {
		add("t.id IN (SELECT volume_id FROM attachments WHERE server_id = ?)", q.ServerID)
	}
	if search != "" {
		add(search, values...)
	}
	if len(where) == 0 {
		add("TRUE")
	}
	return strings.Join(where, " AND "), args, nil
}

// projectFilters are the projects that a row must belong to, all at once; none: to any.
func projectFilters(q models.ListQuery, scope string) []string {
	switch {
	case scope == everyProject && q.Project == "":
		return nil
	case scope == everyProject, scope == q.Project:
		return []string{q.Project}
	case q.Project == "":
		return []string{scope}
	}
	return []string{scope, q.Project}
}

// Total is the number of all the project's volumes or snapshots, from a counter
// that triggers keep.
func (s *Store) Total(ctx context.Context, actor models.Actor, kind models.SubjectType) (int64, error) {
	var n int64
	q := inProject(s.read(ctx).Table("counters").Select("COALESCE(sum(n), 0)"), s.scope(actor.Project))
	return n, q.Where("kind = ?", kind).Scan(&n).Error
}

// CountMatching is the number of rows of a filtered list, exact to CountLimit; one more
// means «more than that».
func (s *Store) CountMatching(ctx context.Context, actor models.Actor, kind models.SubjectType, q models.ListQuery) (int64, error) {
	t := volumeTable
	if kind == models.SubjectSnapshot {
		t = snapshotTable
	}
	where, args, err := s.filter(ctx, t, s.scope(actor.Project), normalized(q, t))
	if err != nil {
		return 0, err
	}
	var n int64
	sql := fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s t WHERE %s LIMIT ?) found", t.name, where)
	return n, s.read(ctx).Raw(sql, append(args, models.CountLimit+1)...).Scan(&n).Error
}

// ListSummary reads them all in one statement.
func (s *Store) ListSummary(ctx context.Context, actor models.Actor, kind models.SubjectType) (models.ListSummary, error) {
	total, args := "kind = ?", []any{kind}
	if scope := s.scope(actor.Project); scope != everyProject {
		total, args = "kind = ? AND project_id = ?", []any{kind, scope}
	}
	var summary models.ListSummary
	return summary, s.read(ctx).Raw(`SELECT
		COALESCE((SELECT sum(n) FROM counters WHERE `+total+`), 0) AS total,
		COALESCE((SELECT seen_at FROM mirror WHERE kind = ?), 0) AS seen_at,
		COALESCE((SELECT failed_since FROM mirror WHERE kind = ?), 0) AS failed_since,
		COALESCE((SELECT failure FROM mirror WHERE kind = ?), '') AS failure,
		COALESCE((SELECT max(seq) FROM changes), 0) AS last_change`, append(args, kind, kind, kind)...).Scan(&summary).Error
}
