package handlers

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers/spreadsheet"
	"blockconsole/models"
	"blockconsole/views"
)

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
