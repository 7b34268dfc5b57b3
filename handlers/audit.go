package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers/spreadsheet"
	"blockconsole/models"
	"blockconsole/views"
)

const (
	auditPath     = "/admin/audit"
	auditPageSize = 50
)

// AuditStore is what Audit needs.
type AuditStore interface {
	SearchAudit(ctx context.Context, actor models.Actor, query models.AuditQuery) (models.AuditPage, error)
	AuditActions(ctx context.Context, actor models.Actor) ([]string, error)
}

// Audit shows the administrator who did what.
type Audit struct{ Store AuditStore }

// List is a page of the audit, newest first, as HTML or JSON, or all that matches, as a
// file of CSV or JSON. A cursor that is no number means the first page.
func (a Audit) List(c echo.Context) error {
	s, query := parseAudit(c)
	file := c.QueryParam("format")
	if wantsCSV(c) {
		file = "csv"
	}
	if s.invalid != nil && (file != "" || Wants(c) != HTML) {
		return s.invalid
	}
	switch file {
	case "csv":
		return a.exportCSV(c, query)
	case "json":
		return a.exportJSON(c, query)
	}
	page, err := a.Store.SearchAudit(c.Request().Context(), Actor(c), query)
	if err != nil {
		return err
	}
	next, previous := s.cursorURL("before", formatCursor(page.Older)), s.cursorURL("after", formatCursor(page.Newer))
	if Wants(c) == JSON {
		answer := auditPageJSON{Items: []auditJSON{}, Next: next, Previous: previous}
		for i := range page.Entries {
			answer.Items = append(answer.Items, toAuditJSON(c, &page.Entries[i]))
		}
		Vary(c)
		return c.JSON(http.StatusOK, answer)
	}
	model := views.Audit{Next: next, Previous: previous, Path: auditPath, Query: query.Search, Action: query.Action, Outcome: query.Outcome,
		From: s.params.Get("from"), To: s.params.Get("to"), Outcomes: models.AuditOutcomes, Filtered: query.Filtered(),
		CSVURL: s.withParam("format", "csv"), JSONURL: s.withParam("format", "json"), ChipURL: map[string]string{}}
	for _, name := range auditFilters {
		model.ChipURL[name] = s.withParam(name, "")
	}
	if e := models.AsError(s.invalid); e != nil {
		model.Notice = Msg(e.Text)
	}
	if model.Actions, err = a.Store.AuditActions(c.Request().Context(), Actor(c)); err != nil {
		return err
	}
	for i := range page.Entries {
		model.Rows = append(model.Rows, auditRow(&page.Entries[i]))
	}
	return Render(c, http.StatusOK, T(c, "nav.audit"), views.AuditPage(model))
}

func auditRow(e *models.AuditEntry) views.AuditRow {
	return views.AuditRow{At: e.At, User: e.UserName, Address: e.Address, Action: e.Action, Kind: e.SubjectType,
		Subject: views.Link{ID: e.SubjectID, Name: e.SubjectName}, Details: auditDetails(e), Outcome: e.Outcome, RequestID: e.RequestID, Count: e.Count, LastAt: e.LastAt}
}

// auditFilters are the query parameters that filter.
var auditFilters = []string{"q", "action", "outcome", "from", "to"}

// parseAudit reads the filters from the address. Days are those of the console's zone;
// those that are none do not filter, and are noted in invalid.
func parseAudit(c echo.Context) (s listState, query models.AuditQuery) {
	s = listState{path: auditPath, params: url.Values{}}
	value := map[string]string{}
	for _, name := range auditFilters {
		value[name] = truncateInput(queryText(c, name))
	}
	query = models.AuditQuery{Search: value["q"], Action: value["action"], Outcome: value["outcome"], Limit: auditPageSize,
		Before: cursorParam(c, "before"), After: cursorParam(c, "after")}
	from, fromErr := parseDay(c, value["from"])
	to, toErr := parseDay(c, value["to"])
	if fromErr != nil || toErr != nil || !from.IsZero() && !to.IsZero() && to.Before(from) {
		s.invalid = models.Invalid("from", models.NewText("audit.unknown_days"))
		value["from"], value["to"], from, to = "", "", time.Time{}, time.Time{}
	}
	if !from.IsZero() {
		query.From = from.UnixMicro()
	}
	if !to.IsZero() {
		query.To = to.AddDate(0, 0, 1).UnixMicro()
	}
	for name, text := range value {
		s.set(name, text)
	}
	return s, query
}

// parseDay is the beginning of a day in the console's zone; zero for an empty text.
func parseDay(c echo.Context, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.ParseInLocation(time.DateOnly, text, zoneOf(c))
}

func formatCursor(num int64) string {
	if num <= 0 {
		return ""
	}
	return strconv.FormatInt(num, 10)
}

func cursorParam(c echo.Context, param string) int64 {
	n, err := strconv.ParseInt(c.QueryParam(param), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// auditDetails are the details of an entry: the parameters of an operation, which
// are JSON, why it was refused, or one word.
func auditDetails(e *models.AuditEntry) []views.AuditDetail {
	var p models.Params
	switch {
	case e.Detail == "":
		return nil
	case e.Outcome == models.AuditDenied:
		return []views.AuditDetail{{Value: Msg(models.DecodeText(e.Detail))}}
	case !strings.HasPrefix(e.Detail, "{") || json.Unmarshal([]byte(e.Detail), &p) != nil:
		return []views.AuditDetail{{Value: auditDetail(e), Text: e.Detail}}
	}
	var f detailList
	f.addChange("column.name", p.OldName, p.Name)
	f.addChange("field.description", p.OldDescription, p.Description)
	if p.SizeGiB > 0 {
		f.addMessage("column.size", views.NewMessage("audit.gib", strconv.Itoa(p.SizeGiB)))
	}
	f.addLink("Volume", "volume", p.VolumeID)
	f.addLink("Block Snapshot", "snapshot", p.SnapshotID)
	f.addText("field.image", p.ImageID)
	f.addText("field.server", cmp.Or(p.ServerName, p.ServerID))
	f.addText("field.reason", p.Reason)
	if p.LockedUntil > 0 {
		f.addMessage("lock.title", views.NewMessage("audit.day", strconv.FormatInt(p.LockedUntil, 10)))
	}
	f.addText("audit.was", string(p.PriorStatus))
	f.addText("field.reset_to", string(p.ResetTo))
	f.addFlag("audit.raw", p.Raw)
	f.addFlag("audit.forced", p.Force)
	f.addFlag("audit.attached", p.Attached)
	f.addFlag("audit.acknowledged", p.Acknowledged)
	return f
}

// auditDetail is the text for a detail of one word, none where the catalog has none.
func auditDetail(e *models.AuditEntry) views.Message {
	switch {
	case strings.HasPrefix(e.Action, "user."):
		return views.NewMessage("audit.role", e.Detail)
	case strings.HasPrefix(e.Action, "operation."):
		return views.NewMessage("audit.kind", e.Detail)
	}
	return views.Message{}
}

type detailList []views.AuditDetail

func (f *detailList) append(fact views.AuditDetail) { *f = append(*f, fact) }

func (f *detailList) addMessage(name string, value views.Message) {
	f.append(views.AuditDetail{Name: views.Message{Key: name}, Value: value})
}

func (f *detailList) addText(name, text string) {
	if text != "" {
		f.append(views.AuditDetail{Name: views.Message{Key: name}, Text: text})
	}
}

func (f *detailList) addFlag(name string, is bool) {
	if is {
		f.addMessage(name, views.Message{Key: "audit.yes"})
	}
}

// addLink adds a link to an object. noun is what the product calls it.
func (f *detailList) addLink(noun, kind, id string) {
	if id != "" {
		f.append(views.AuditDetail{Name: views.NewMessage("audit.noun", noun), Text: id, Kind: kind})
	}
}

// addChange adds the new text, with the old one where there was one.
func (f *detailList) addChange(name, from, to string) {
	if from == to || from == "" {
		f.addText(name, to)
		return
	}
	f.addMessage(name, views.NewMessage("audit.changed", from, to))
}

type auditPageJSON struct {
	Items    []auditJSON `json:"items"`
	Next     string      `json:"next"`
	Previous string      `json:"previous"`
}

// auditJSON is an entry as programs read it. Details are in the language of the request.
type auditJSON struct {
	At        string            `json:"at"`
	LastAt    string            `json:"last_at,omitempty"`
	Count     int64             `json:"count"`
	User      string            `json:"user"`
	Address   string            `json:"address"`
	Action    string            `json:"action"`
	Subject   auditSubjectJSON  `json:"subject"`
	Details   []auditDetailJSON `json:"details"`
	Outcome   string            `json:"outcome"`
	RequestID string            `json:"request_id"`
}

type auditSubjectJSON struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

type auditDetailJSON struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value"`
}

func toAuditJSON(c echo.Context, e *models.AuditEntry) auditJSON {
	j := auditJSON{At: rfc3339(e.At), Count: e.Count, User: e.UserName, Address: e.Address, Action: e.Action,
		Subject: auditSubjectJSON{e.SubjectType, e.SubjectID, e.SubjectName}, Details: auditDetailTexts(c, e), Outcome: e.Outcome, RequestID: e.RequestID}
	if e.LastAt > 0 {
		j.LastAt = rfc3339(e.LastAt)
	}
	return j
}

func auditDetailTexts(c echo.Context, e *models.AuditEntry) []auditDetailJSON {
	texts := []auditDetailJSON{}
	for _, d := range auditDetails(e) {
		text := auditDetailJSON{Value: d.Text}
		if d.Name.Key != "" {
			text.Name = messageOf(c, d.Name)
		}
		if d.Value.Key != "" {
			text.Value = messageOf(c, d.Value)
		}
		texts = append(texts, text)
	}
	return texts
}

func messageOf(c echo.Context, m views.Message) string {
	return TextOf(c, models.NewText(m.Key, m.Args()...))
}

// eachAuditBatch reads all that matches, newest first, and stops at an error of write.
func (a Audit) eachAuditBatch(c echo.Context, query models.AuditQuery, start func(), write func([]models.AuditEntry) error) error {
	query.Before, query.After, query.Limit = 0, 0, csvBatch
	for {
		page, err := a.Store.SearchAudit(c.Request().Context(), Actor(c), query)
		if err != nil {
			return err
		}
		if query.Before == 0 {
			start() // an error of the first batch is still an answer of its own
		}
		if err := write(page.Entries); err != nil {
			return err
		}
		c.Response().Flush()
		if query.Before = page.Older; page.Older == 0 {
			return nil
		}
	}
}

var auditColumns = []string{"at", "last_at", "count", "user", "address", "action", "subject_type", "subject_id", "subject_name", "details", "outcome", "request_id"}

func (a Audit) exportCSV(c echo.Context, query models.AuditQuery) error {
	var w *spreadsheet.Writer
	return a.eachAuditBatch(c, query, func() { w = startCSV(c, "audit", auditColumns) }, func(entries []models.AuditEntry) error {
		for i := range entries {
			e := &entries[i]
			var details []string
			for _, d := range auditDetailTexts(c, e) {
				details = append(details, strings.TrimPrefix(d.Name+": "+d.Value, ": "))
			}
			var last any = ""
			if e.LastAt > 0 {
				last = time.UnixMicro(e.LastAt)
			}
			w.Write(time.UnixMicro(e.At), last, e.Count, e.UserName, e.Address, e.Action, e.SubjectType, e.SubjectID, e.SubjectName,
				strings.Join(details, "; "), e.Outcome, e.RequestID)
		}
		return w.Flush()
	})
}

// exportJSON sends an array, an entry a line.
func (a Audit) exportJSON(c echo.Context, query models.AuditQuery) error {
	separator := "[\n"
	err := a.eachAuditBatch(c, query, func() { startDownload(c, "audit.json", echo.MIMEApplicationJSON) }, func(entries []models.AuditEntry) error {
		for i := range entries {
			line, err := json.Marshal(toAuditJSON(c, &entries[i]))
			if err != nil {
				return err
			}
			if _, err := c.Response().Write(append([]byte(separator), line...)); err != nil {
				return err
			}
			separator = ",\n"
		}
		return nil
	})
	if err != nil {
		return err
	}
	end := "\n]\n"
	if separator == "[\n" {
		end = "[]\n"
	}
	_, err = c.Response().Write([]byte(end))
	return err
}
