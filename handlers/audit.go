package handlers

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

const (
	auditPath     = "/admin/audit"
	auditPageSize = 50
)

// AuditStore is what Audit needs.
type AuditStore interface {
	ListAudit(ctx context.Context, actor models.Actor, before, after int64, limit int) (models.AuditPage, error)
}

// Audit shows the administrator who did what.
type Audit struct{ Store AuditStore }

// List is a page of the audit, newest first. A cursor that is no number means the
// first page.
func (a Audit) List(c echo.Context) error {
	page, err := a.Store.ListAudit(c.Request().Context(), Actor(c), cursorParam(c, "before"), cursorParam(c, "after"), auditPageSize)
	if err != nil {
		return err
	}
	model := views.Audit{}
	if page.Older > 0 {
		model.Next = auditPath + "?before=" + strconv.FormatInt(page.Older, 10)
	}
	if page.Newer > 0 {
		model.Previous = auditPath + "?after=" + strconv.FormatInt(page.Newer, 10)
	}
	for _, e := range page.Entries {
		model.Rows = append(model.Rows, views.AuditRow{At: e.At, User: e.UserName, Address: e.Address, Action: e.Action, Kind: e.SubjectType,
			Subject: views.Link{ID: e.SubjectID, Name: e.SubjectName}, Details: auditDetails(&e), Outcome: e.Outcome, RequestID: e.RequestID, Count: e.Count, LastAt: e.LastAt})
	}
	return Render(c, http.StatusOK, T(c, "nav.audit"), views.AuditPage(model))
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
	f.addText("field.server", p.ServerID)
	f.addText("field.reason", p.Reason)
	f.addText("audit.was", string(p.PriorStatus))
	f.addText("field.reset_to", string(p.ResetTo))
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
