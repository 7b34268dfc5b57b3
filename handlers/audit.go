package handlers

import (
	"context"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

const (
	auditPath     = "/admin/audit"
	auditPageSize = 50
)

// AuditStore is what the audit page needs.
type AuditStore interface {
	ListAudit(ctx context.Context, actor models.Actor, before, after int64, limit int) (models.AuditPage, error)
}

// ListAudit is the administrator's record of who did what.
type Audit struct{ Store AuditStore }

// List shows a page of it, newest first. A position that is no number means the
// first page.
func (a Audit) List(c echo.Context) error {
	page, err := a.Store.ListAudit(c.Request().Context(), Actor(c), position(c, "before"), position(c, "after"), auditPageSize)
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
			Subject: views.Link{ID: e.SubjectID, Name: e.SubjectName}, Facts: auditFacts(&e), Outcome: e.Outcome, RequestID: e.RequestID})
	}
	return Render(c, http.StatusOK, T(c, "nav.audit"), views.AuditPage(model))
}

func position(c echo.Context, param string) int64 {
	n, err := strconv.ParseInt(c.QueryParam(param), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
