package handlers

import (
	"context"
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

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
	csvRecord func(*R) []string
	projectID func(*R) string
}

type listStore interface {
	Rules() models.Rules
	AllProjects() bool
	Capabilities() models.Capabilities
	ProjectsWith(ctx context.Context, actor models.Actor, kind models.SubjectType) ([]string, error)
	ListSummary(ctx context.Context, actor models.Actor, kind models.SubjectType) (models.ListSummary, error)
	CountMatching(ctx context.Context, actor models.Actor, kind models.SubjectType, q models.ListQuery) (int64, error)
}

// List is the list: a page, JSON or CSV.
func (l listing[R]) List(c echo.Context) error {
	s := parseList(c, l.path)
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
	s := parseList(c, l.path)
	n, err := l.store.CountMatching(c.Request().Context(), Actor(c), l.kind, s.query)
	if err != nil {
		return err
	}
	return Fragment(c, http.StatusOK, views.Found(min(n, models.CountLimit), n > models.CountLimit))
}

// listJSON is a page of a list. Next and Previous are URLs, empty at the ends.
type listJSON struct {
	Items      []any  `json:"items"`
	Next       string `json:"next"`
	Previous   string `json:"previous"`
	Total      int64  `json:"total"`
	TotalExact bool   `json:"total_exact"`
}
