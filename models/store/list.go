package store

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

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

// ListSnapshots returns a page of the project's snapshots with their attachments.
// Errors: ErrCursor, those of the database.
func (s Snapshots) ListSnapshots(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Snapshot], error) {
	return cached(ctx, s.Store, &s.snapshotPages, s.scope(actor.Project), q, func() (models.Page[models.Snapshot], error) {
		page, err := list(ctx, s.Store, snapshotTable, s.scope(actor.Project), q, func(r *models.Snapshot, sort string) string {
			at := r.CreatedAt
			if strings.TrimPrefix(sort, "-") == "taken_at" {
				at = r.TakenAt
			}
			return encodeCursor(sort, sortValue(sort, at, r.Name, r.SizeGiB, r.Status), r.ID)
		})
		if err != nil {
			return page, err
		}
		return page, s.loadReaders(ctx, page.Rows)
	})
}

// ListVolumes returns a page of the project's volumes with their attachments. Errors:
// ErrCursor, those of the database.
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

func sortValue(sort string, at int64, name string, size int, status models.Status) string {
	switch strings.TrimPrefix(sort, "-") {
	case "name":
		return name
	case "size":
		return fmt.Sprint(size)
	case "status":
		return string(status)
	}
	return fmt.Sprint(at)
}

// list reads one row more than a page has, to know whether there is another page in
// that direction.
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
	case pos.back && !more && !pos.last: // near the beginning: return a full first page
		pos = position{}
		if rows, err = read(pos); err != nil {
			return page, err
		}
		more = len(rows) > q.Size
	case pos.key != nil && !pos.back && len(rows) == 0: // the rows were deleted: return the last page
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

// position is where a page begins: beyond a cursor, or at either end of the list.
type position struct {
	key  any // of the cursor; nil: at an end of the list
	id   string
	back bool // reads towards the beginning
	last bool // the last page
}

func positionOf(q models.ListQuery) (position, error) {
	if q.Before == "" && q.After == "" {
		return position{}, nil
	}
	c, err := decodeCursor(cmp.Or(q.Before, q.After), q.Sort)
	if err == nil && sortsByFilteredStatus(q) && c.key != string(q.Status) {
		err = models.ErrCursor // from the list of another status
	}
	return position{key: c.key, id: c.id, back: q.Before != ""}, err
}

// sortsByFilteredStatus reports whether the list is sorted by the status that all its
// rows have.
func sortsByFilteredStatus(q models.ListQuery) bool {
	return q.Status != "" && strings.TrimPrefix(q.Sort, "-") == "status"
}

// normalized replaces what the database would refuse, or the list does not have.
func normalized(q models.ListQuery, t table) models.ListQuery {
	q.Sort, _ = models.ParseSort(t.kind, q.Sort)
	if q.Size < 1 {
		q.Size = models.DefaultPageSize
	}
	q.Search, q.VolumeID, q.ServerID = searchable(q.Search), searchable(q.VolumeID), searchable(q.ServerID)
	q.Project = searchable(q.Project)
	q.Status = models.Status(searchable(string(q.Status)))
	if t.kind == models.SubjectVolume {
		q.VolumeID = ""
	}
	return q
}

// pageSQL returns the query of a page. Every combination of filter and sort uses an
// index: TestQueryPlans checks it.
func pageSQL(t table, where string, args []any, q models.ListQuery, pos position) (string, []any) {
	descending := strings.HasPrefix(q.Sort, "-") != pos.back
	column := "t." + sortKeys[strings.TrimPrefix(q.Sort, "-")].column
	direction, beyond := "ASC", ">"
	if descending {
		direction, beyond = "DESC", "<"
	}
	args = slices.Clone(args)
	if sortsByFilteredStatus(q) { // the id alone is the key: SQLite uses no index for a pair whose first value is constant
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

// filter returns the WHERE clause of a list and its arguments.
func (s *Store) filter(ctx context.Context, t table, scope string, q models.ListQuery) (string, []any, error) {
	selective := q.VolumeID != "" || q.ServerID != "" || q.Locked
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
			// The filter matches few rows, but SQLite would choose to walk the whole project in the order of the list.
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
		add("t.id IN (SELECT subject_id FROM attachments WHERE server_id = ?)", q.ServerID)
	}
	if q.Locked {
		add(fmt.Sprintf("t.num IN (SELECT num FROM %s WHERE locked_until > 0 AND locked_until > ?)", t.name), models.Micros(s.Now()))
	}
	if search != "" {
		add(search, values...)
	}
	if len(where) == 0 {
		add("TRUE")
	}
	return strings.Join(where, " AND "), args, nil
}

// projectFilters returns the projects that a row must belong to, all at once.
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

// Total returns the number of the project's volumes or snapshots, from counters that
// triggers maintain. Errors: those of the database.
func (s *Store) Total(ctx context.Context, actor models.Actor, kind models.SubjectType) (int64, error) {
	var n int64
	q := inProject(s.read(ctx).Table("counters").Select("COALESCE(sum(n), 0)"), s.scope(actor.Project))
	return n, q.Where("kind = ?", kind).Scan(&n).Error
}

// CountMatching returns the number of rows of a filtered list; CountLimit + 1 stands for
// any larger number. Errors: those of the database.
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

// ListSummary returns what a list page shows beside its rows, in one statement. Errors:
// those of the database.
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

// sortKey is a column that lists can be sorted by.
type sortKey struct {
	column string
	number bool
	min    int64 // of a number
	max    int64
}

var sortKeys = map[string]sortKey{
	"created_at": {column: "created_at", number: true, min: math.MinInt64, max: math.MaxInt64},
	"taken_at":   {column: "taken_at", number: true, min: math.MinInt64, max: math.MaxInt64},
	"name":       {column: "name"},
	"size":       {column: "size_gib", number: true, min: math.MinInt32, max: math.MaxInt32},
	"status":     {column: "status"},
}

// cursor is a place in a list: the sort key and the id of a row.
type cursor struct {
	key any
	id  string
}

const cursorSeparator = "\x1f"

func encodeCursor(sort, key, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{sort, id, key}, cursorSeparator)))
}

// decodeCursor parses a cursor of a list with that sort; else models.ErrCursor.
func decodeCursor(text, sort string) (cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) > 2000 {
		return cursor{}, models.ErrCursor
	}
	parts := strings.SplitN(string(raw), cursorSeparator, 3)
	if len(parts) != 3 || parts[0] != sort || parts[1] == "" {
		return cursor{}, models.ErrCursor
	}
	c := cursor{key: parts[2], id: parts[1]}
	if !utf8.Valid(raw) || strings.ContainsRune(string(raw), 0) { // PostgreSQL accepts neither in text
		return cursor{}, models.ErrCursor
	}
	by := sortKeys[strings.TrimPrefix(sort, "-")]
	if by.number {
		n, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil || n < by.min || n > by.max {
			return cursor{}, models.ErrCursor
		}
		c.key = n
	}
	return c, nil
}

// NameTaken reports whether another object of the project than except has the name.
// Names need not be unique: it is for a hint. Errors: those of the database.
func (s *Store) NameTaken(ctx context.Context, actor models.Actor, kind models.SubjectType, name, except string) (bool, error) {
	var n int64
	err := s.read(ctx).Table(kind.Plural()).Select("1").Where("project_id = ? AND name = ? AND id <> ?", s.projectFor(actor), searchable(name), searchable(except)).
		Limit(1).Scan(&n).Error
	return n > 0, err
}

// maxCachedPages bounds the memory of a page cache; a page has at most 200 rows.
const maxCachedPages = 64

// pageCache keeps pages of a list until anything changes: most requests are for a page
// that was just read. The newest change, which triggers insert in the transaction of
// the change itself, tells whether a page is current.
type pageCache[T any] struct {
	mu    sync.Mutex
	seq   int64 // sequence number of the newest change when the pages were read
	pages map[pageKey]models.Page[T]
}

type pageKey struct {
	project string
	query   models.ListQuery
}

// cached returns the page from the cache, or reads and caches it. Callers share its
// rows and must not change them.
func cached[T any](ctx context.Context, s *Store, cache *pageCache[T], project string, q models.ListQuery, read func() (models.Page[T], error)) (models.Page[T], error) {
	if q.Locked || q.Size > models.PageSizes[len(models.PageSizes)-1] {
		return read() // locks run out without a change; an export reads each page once
	}
	seq := q.AsOf
	if seq == 0 {
		var err error
		if seq, err = s.LastChange(ctx); err != nil {
			return models.Page[T]{}, err
		}
	}
	q.AsOf = 0
	key := pageKey{project, q}
	if page, ok := cache.get(seq, key); ok {
		return page, nil
	}
	page, err := read()
	if err == nil {
		cache.put(seq, key, page)
	}
	return page, err
}

func (c *pageCache[T]) get(seq int64, key pageKey) (models.Page[T], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq != c.seq {
		return models.Page[T]{}, false
	}
	page, ok := c.pages[key]
	return page, ok
}

func (c *pageCache[T]) put(seq int64, key pageKey, page models.Page[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq < c.seq {
		return // older than the cache
	}
	if seq > c.seq || len(c.pages) >= maxCachedPages {
		c.seq, c.pages = seq, map[pageKey]models.Page[T]{}
	}
	if c.pages == nil {
		c.pages = map[pageKey]models.Page[T]{}
	}
	c.pages[key] = page
}
