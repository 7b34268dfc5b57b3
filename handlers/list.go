package handlers

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// listState is the state of a list, as its URL has it.
type listState struct {
	kind    models.SubjectType
	path    string
	query   models.ListQuery
	params  url.Values // normalized, without a cursor
	invalid error      // the first unknown parameter
}

// queryText is a query parameter that both databases and pages accept.
func queryText(c echo.Context, name string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(c.QueryParam(name), "\x00", ""), "\ufffd")
}

// parseList reads the state of a list from the URL. An unknown value becomes the
// default, and is noted in invalid.
func parseList(c echo.Context, kind models.SubjectType, path string) listState {
	get := func(name string) string { return queryText(c, name) }
	s := listState{kind: kind, path: path, params: url.Values{}}
	q := &s.query
	q.Search = truncateInput(get("q"))
	q.Status = models.Status(truncateInput(strings.ToUpper(get("status"))))
	q.VolumeID, q.ServerID, q.Project = truncateInput(get("volume")), truncateInput(get("server")), truncateInput(get("project"))
	q.Locked = get("locked") == "1"
	var ok bool
	if q.Sort, ok = models.ParseSort(kind, get("sort")); !ok {
		s.invalid = models.Invalid("sort", models.NewText("list.unknown_sort"))
	}
	if q.Size, ok = models.ParsePageSize(get("size")); !ok && s.invalid == nil {
		s.invalid = models.Invalid("size", models.NewText("list.unknown_size", strconv.Itoa(q.Size)))
	}
	q.After, q.Before = c.QueryParam("after"), c.QueryParam("before")
	if q.After != "" && q.Before != "" {
		q.After, q.Before, s.invalid = "", "", models.ErrCursor
	}
	s.set("q", q.Search)
	s.set("status", string(q.Status))
	if q.Locked {
		s.set("locked", "1")
	}
	s.set("volume", q.VolumeID)
	s.set("server", q.ServerID)
	s.set("project", q.Project)
	if q.Sort != models.DefaultSort {
		s.set("sort", q.Sort)
	}
	if q.Size != models.DefaultPageSize {
		s.set("size", strconv.Itoa(q.Size))
	}
	return s
}

func (s *listState) set(name, value string) {
	if value != "" {
		s.params.Set(name, value)
	}
}

// withParam is the URL of the first page with one parameter changed.
func (s *listState) withParam(name, value string) string {
	params := maps.Clone(s.params)
	params.Del(name)
	if value != "" {
		params.Set(name, value)
	}
	if len(params) == 0 {
		return s.path
	}
	return s.path + "?" + params.Encode()
}

// cursorURL is the URL of the page at a cursor; empty without one.
func (s *listState) cursorURL(name, cursor string) string {
	if cursor == "" {
		return ""
	}
	return s.withParam(name, cursor)
}

// serverFilter is the chip of a list of what is attached to one server; nil without.
func serverFilter(c echo.Context, store interface {
	Server(ctx context.Context, actor models.Actor, id string) (*models.Server, error)
}, s *listState) *views.Link {
	id := s.query.ServerID
	if id == "" {
		return nil
	}
	link := &views.Link{ID: id}
	if server, err := store.Server(c.Request().Context(), Actor(c), id); err == nil {
		link.Name = server.Name
	}
	return link
}

// loadPage reads the page. With a broken cursor people get the first page and a
// notice, programs the error.
func loadPage[T any](c echo.Context, s *listState, read func(models.ListQuery) (models.Page[T], error)) (models.Page[T], error) {
	if s.invalid != nil && Wants(c) != HTML {
		return models.Page[T]{}, s.invalid
	}
	page, err := read(s.query)
	if errors.Is(err, models.ErrCursor) && Wants(c) == HTML {
		s.invalid = err
		s.query.After, s.query.Before = "", ""
		page, err = read(s.query)
	}
	return page, err
}

// view is the view model that all lists have.
func (s *listState) view(summary models.ListSummary, statuses []models.Status, next, previous string) views.List {
	l := views.List{
		Path: s.path, Query: s.query.Search, Status: string(s.query.Status), Locked: s.query.Locked, Sort: s.query.Sort, Size: s.query.Size,
		Sizes: models.PageSizes, Next: s.cursorURL("after", next), Previous: s.cursorURL("before", previous),
		Total: summary.Total, Filtered: s.query.Filtered(), LastReadAt: summary.SeenAt,
		EventsURL: eventsURL(s.path, summary), Degraded: degraded(summary),
		SortURL: map[string]string{}, ChipURL: map[string]string{}, SizeURL: map[int]string{},
		CSVURL: s.withParam("format", "csv"),
	}
	for _, status := range statuses {
		l.Statuses = append(l.Statuses, string(status))
	}
	if l.Status != "" && !slices.Contains(l.Statuses, l.Status) {
		l.Statuses = append(l.Statuses, l.Status) // a status only the cloud knows
	}
	if l.Filtered {
		found := *s
		found.path += "/count"
		l.FilteredCountURL = found.withParam("", "")
	}
	for _, key := range models.Sorts(s.kind) {
		l.SortURL[key] = s.withParam("sort", nextSort(s.query.Sort, key))
	}
	for _, name := range []string{"q", "status", "locked", "volume", "server", "project"} {
		l.ChipURL[name] = s.withParam(name, "")
	}
	for _, size := range models.PageSizes {
		l.SizeURL[size] = s.withParam("size", strconv.Itoa(size))
	}
	if e := models.AsError(s.invalid); e != nil {
		l.Notice = Msg(e.Text)
	}
	return l
}

// projects fills in the choices of the project filter, where several projects are
// shown: those with rows, and the chosen one.
func (s *listState) projects(l *views.List, all projectNames, ids []string) {
	if id := s.query.Project; id != "" {
		l.Project = &views.Link{ID: id, Name: all[id]}
		if all != nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if all == nil {
		return
	}
	for _, id := range ids {
		l.Projects = append(l.Projects, views.Link{ID: id, Name: all[id]})
	}
	slices.SortFunc(l.Projects, func(a, b views.Link) int {
		return cmp.Or(strings.Compare(views.Label(a.ID, a.Name), views.Label(b.ID, b.Name)), strings.Compare(a.ID, b.ID))
	})
}

// degraded says since when the backend cannot be read, and why.
func degraded(summary models.ListSummary) views.Degraded {
	if summary.FailedSince == 0 || summary.Failure.None() {
		return views.Degraded{}
	}
	return views.Degraded{Since: summary.FailedSince, Reason: Msg(summary.Failure.Text), LastReadAt: summary.SeenAt}
}

// eventsURL is the live stream of a list after the changes that the page has.
func eventsURL(path string, summary models.ListSummary) string {
	return path + "/events?after=" + strconv.FormatInt(summary.LastChange, 10)
}

// nextSort is the sort after a click on a column: the other direction of the present
// column, else ascending for words and descending for figures.
func nextSort(present, key string) string {
	switch present {
	case key:
		return "-" + key
	case "-" + key:
		return key
	}
	if key == "name" || key == "status" {
		return key
	}
	return "-" + key
}

func rfc3339(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }

// listing has the lists of Volumes and of Block Snapshots. Its fields are what they
// differ in.
type listing[R any] struct {
	kind     models.SubjectType
	path     string
	statuses []models.Status
	store    listStore
	read     func(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[R], error)
	render   renderRow[R]
	page     func(c echo.Context, s *listState, list views.List, rows []views.RenderedRow) templ.Component
	toJSON   func(c echo.Context, row *R, projects projectNames) any

	csvName   string
	csvHead   []string
	csvRecord func(*R) []any
	projectID func(*R) string
}

type listStore interface {
	Rules() models.Rules
	AllProjects() bool
	Capabilities() models.Capabilities
	ProjectsWith(ctx context.Context, actor models.Actor, kind models.SubjectType) ([]string, error)
	ListSummary(ctx context.Context, actor models.Actor, kind models.SubjectType) (models.ListSummary, error)
	CountMatching(ctx context.Context, actor models.Actor, kind models.SubjectType, q models.ListQuery) (int64, error)
	nameStore
}

// List is the list: a page, JSON or CSV.
func (l listing[R]) List(c echo.Context) error {
	s := parseList(c, l.kind, l.path)
	ctx, actor, projects := c.Request().Context(), Actor(c), projectNamesOf(l.store)
	var summary models.ListSummary
	read := func(q models.ListQuery) (models.Page[R], error) {
		q.AsOf = summary.LastChange
		return l.read(ctx, actor, q)
	}
	if wantsCSV(c) {
		head, record := withProjectNames(projects, l.csvHead, l.csvRecord, l.projectID)
		return streamCSV(c, &s, l.csvName, head, read, record)
	}
	// The summary before the rows: the live stream continues after its last change, and
	// would skip a change between the two.
	var err error
	if summary, err = l.store.ListSummary(ctx, actor, l.kind); err != nil {
		return err
	}
	page, err := loadPage(c, &s, read)
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		return l.answerJSON(c, &s, page, summary.Total, projects)
	}
	list := s.view(summary, l.statuses, page.Next, page.Previous)
	ids, err := l.store.ProjectsWith(ctx, actor, l.kind)
	if err != nil {
		return err
	}
	s.projects(&list, projects, ids)
	rows, err := renderRows(rowContext(ctx, RequestOf(c).Site), page.Rows, l.store.Rules(), projects, l.render)
	if err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, string(l.kind)+".list"), l.page(c, &s, list, rows))
}

// answerJSON answers with a page as JSON. A filtered total is exact up to CountLimit.
func (l listing[R]) answerJSON(c echo.Context, s *listState, page models.Page[R], total int64, projects projectNames) error {
	answer := listJSON{Items: make([]any, len(page.Rows)), Next: s.cursorURL("after", page.Next), Previous: s.cursorURL("before", page.Previous), Total: total, TotalExact: true}
	if s.query.Filtered() {
		n, err := l.store.CountMatching(c.Request().Context(), Actor(c), l.kind, s.query)
		if err != nil {
			return err
		}
		answer.Total, answer.TotalExact = min(n, models.CountLimit), n <= models.CountLimit
	}
	for i := range page.Rows {
		answer.Items[i] = l.toJSON(c, &page.Rows[i], projects)
	}
	Vary(c)
	return c.JSON(http.StatusOK, answer)
}

// Count is the filtered total, which loads after the page.
func (l listing[R]) Count(c echo.Context) error {
	s := parseList(c, l.kind, l.path)
	n, err := l.store.CountMatching(c.Request().Context(), Actor(c), l.kind, s.query)
	if err != nil {
		return err
	}
	return Fragment(c, http.StatusOK, views.FilteredCount(min(n, models.CountLimit), n > models.CountLimit))
}

// NameHint says, while a name is typed, whether another object has it already.
func (l listing[R]) NameHint(c echo.Context) error {
	taken, err := nameTaken(c, l.store, l.kind, c.QueryParam("name"), c.QueryParam("except"))
	if err != nil {
		return err
	}
	return Fragment(c, http.StatusOK, views.NameHint(taken))
}

// listJSON is a page of a list. Next and Previous are URLs, empty at the ends.
type listJSON struct {
	Items      []any  `json:"items"`
	Next       string `json:"next"`
	Previous   string `json:"previous"`
	Total      int64  `json:"total"`
	TotalExact bool   `json:"total_exact"`
}
