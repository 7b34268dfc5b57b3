package handlers

import (
	"cmp"
	"encoding/csv"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// listState is what a list's URL says.
type listState struct {
	path   string
	query  models.ListQuery
	params url.Values // the normal parameters, without the place
	wrong  error      // the first parameter that lists do not know
}

// readList reads the state of a list from the URL. What it does not know becomes
// the default, and is noted.
func readList(c echo.Context, path string) listState {
	get := func(name string) string {
		return strings.ToValidUTF8(strings.ReplaceAll(c.QueryParam(name), "\x00", ""), "\ufffd")
	}
	s := listState{path: path, params: url.Values{}}
	q := &s.query
	q.Search = cutTyped(get("q"))
	q.Status = models.Status(cutTyped(strings.ToUpper(get("status"))))
	q.VolumeID, q.ServerID, q.Project = cutTyped(get("volume")), cutTyped(get("server")), cutTyped(get("project"))
	var ok bool
	if q.Sort, ok = models.ParseSort(get("sort")); !ok {
		s.wrong = models.Invalid("sort", models.NewText("list.unknown_sort"))
	}
	if q.Size, ok = models.ParsePageSize(get("size")); !ok && s.wrong == nil {
		s.wrong = models.Invalid("size", models.NewText("list.unknown_size", strconv.Itoa(q.Size)))
	}
	q.After, q.Before = c.QueryParam("after"), c.QueryParam("before")
	if q.After != "" && q.Before != "" {
		q.After, q.Before, s.wrong = "", "", models.ErrCursor
	}
	s.set("q", q.Search)
	s.set("status", string(q.Status))
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

// with is the URL of the list with one parameter changed, from its beginning.
func (s *listState) with(name, value string) string {
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

// at is the URL of another place in the list; empty for the empty place.
func (s *listState) at(name, cursor string) string {
	if cursor == "" {
		return ""
	}
	return s.with(name, cursor)
}

// firstPage is the list without a place, for cursors that are none.
func (s *listState) firstPage() { s.query.After, s.query.Before = "", "" }

// load runs read; for people a broken cursor is the first page with a notice, for
// programs an error.
func load[T any](c echo.Context, s *listState, read func(models.ListQuery) (models.Page[T], error)) (models.Page[T], error) {
	if s.wrong != nil && Wants(c) != HTML {
		return models.Page[T]{}, s.wrong
	}
	page, err := read(s.query)
	if errors.Is(err, models.ErrCursor) && Wants(c) == HTML {
		s.wrong = err
		s.firstPage()
		page, err = read(s.query)
	}
	return page, err
}

// view is the list's part of the page.
func (s *listState) view(facts models.ListSummary, statuses []models.Status, next, previous string) views.List {
	l := views.List{
		Path: s.path, Query: s.query.Search, Status: string(s.query.Status), Sort: s.query.Sort, Size: s.query.Size,
		Sizes: models.PageSizes, Next: s.at("after", next), Previous: s.at("before", previous),
		Total: facts.Total, Filtered: s.query.Filtered(), FreshAt: facts.SeenAt,
		EventsURL: eventsURL(s.path, facts), Degraded: degraded(facts),
		SortURL: map[string]string{}, ChipURL: map[string]string{}, SizeURL: map[int]string{},
		CSVURL: s.with("format", "csv"),
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
		l.FoundURL = found.with("", "")
	}
	for _, key := range models.Sorts {
		l.SortURL[key] = s.with("sort", nextSort(s.query.Sort, key))
	}
	for _, name := range []string{"q", "status", "volume", "server", "project"} {
		l.ChipURL[name] = s.with(name, "")
	}
	for _, size := range models.PageSizes {
		l.SizeURL[size] = s.with("size", strconv.Itoa(size))
	}
	if e := models.AsError(s.wrong); e != nil {
		l.Notice = Msg(e.Text)
	}
	return l
}

// projects are the choices of the project filter, where several are shown: those
// that have something to show, and the one that is chosen.
func (s *listState) projects(l *views.List, all owners, ids []string) {
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
func degraded(facts models.ListSummary) views.Degraded {
	if facts.FailedSince == 0 || facts.Failure.None() {
		return views.Degraded{}
	}
	return views.Degraded{Since: facts.FailedSince, Reason: Msg(facts.Failure.Text), FreshAt: facts.SeenAt}
}

// eventsURL is the live stream of a list, from what the page has seen on.
func eventsURL(path string, facts models.ListSummary) string {
	return path + "/events?after=" + strconv.FormatInt(facts.LastChange, 10)
}

// nextSort is what a click on a column's heading sorts by: it turns the direction
// of the present column around; figures begin with the largest.
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

// wantsCSV also takes ?format=csv, for the link on the page.
func wantsCSV(c echo.Context) bool { return Wants(c) == CSV || c.QueryParam("format") == "csv" }

// listJSON is a list for programs. Next and Previous are empty at the ends.
type listJSON[T any] struct {
	Items      []T    `json:"items"`
	Next       string `json:"next"`
	Previous   string `json:"previous"`
	Total      int64  `json:"total"`
	TotalExact bool   `json:"total_exact"`
}

// answerListJSON answers with a page. A filtered total is exact to CountLimit.
func answerListJSON[T any](c echo.Context, s *listState, items []T, next, previous string, total int64) error {
	Vary(c)
	answer := listJSON[T]{Items: items, Next: s.at("after", next), Previous: s.at("before", previous), Total: total, TotalExact: true}
	if s.query.Filtered() && total > models.CountLimit {
		answer.Total, answer.TotalExact = models.CountLimit, false
	}
	return c.JSON(http.StatusOK, answer)
}

// csvPage is how many rows an export reads at a time.
const csvPage = 1000

// streamCSV writes the whole filtered list, page by page, as it is read.
func streamCSV[T any](c echo.Context, s *listState, name string, head []string,
	read func(models.ListQuery) (models.Page[T], error), record func(*T) []string) error {
	if s.wrong != nil {
		return s.wrong
	}
	q := s.query
	q.Size = csvPage
	page, err := read(q)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/csv; charset=utf-8")
	header.Set(echo.HeaderContentDisposition, `attachment; filename="`+name+`.csv"`)
	Vary(c)
	c.Response().WriteHeader(http.StatusOK)
	if _, err := c.Response().Write([]byte("\xef\xbb\xbf")); err != nil { // so that spreadsheets read UTF-8
		return err
	}
	w := csv.NewWriter(c.Response())
	if err := w.Write(head); err != nil {
		return err
	}
	for {
		for i := range page.Rows {
			if err := w.Write(harmless(record(&page.Rows[i]))); err != nil {
				return err
			}
		}
		w.Flush()
		c.Response().Flush()
		if page.Next == "" || w.Error() != nil {
			return w.Error()
		}
		q.After, q.Before = page.Next, ""
		if page, err = read(q); err != nil {
			return err
		}
	}
}

// harmless keeps spreadsheets from computing cells: those that begin like a
// formula get a leading apostrophe.
func harmless(record []string) []string {
	for i, cell := range record {
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			record[i] = "'" + cell
		}
	}
	return record
}

func rfc3339(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }

// found answers how many rows match the filters, for the figure that loads after
// the page.
func found(c echo.Context, n int64) error {
	return Fragment(c, http.StatusOK, views.Found(min(n, models.CountLimit), n > models.CountLimit))
}
