package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// ActivityStore is what Activity needs.
type ActivityStore interface {
	ListOperations(ctx context.Context, actor models.Actor, query models.OperationQuery) ([]models.Operation, error)
	Operation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error)
	CancelOperation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error)
	RetryOperation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error)
	CountRunning(ctx context.Context, project string) (int64, error)
	ListSummary(ctx context.Context, actor models.Actor, kind models.SubjectType) (models.ListSummary, error)
	Volume(ctx context.Context, actor models.Actor, id string) (*models.Volume, error)
	Snapshot(ctx context.Context, actor models.Actor, id string) (*models.Snapshot, error)
	ExistingSubjects(ctx context.Context, actor models.Actor, ops []models.Operation) (map[string]bool, error)
}

// Activity has the pages of operations.
type Activity struct{ Store ActivityStore }

const (
	activityPath = "/activity"
	activityPage = 50
)

var operationStates = []models.OperationState{models.Pending, models.Running, models.Succeeded, models.Failed, models.Cancelled}

// List is the page of operations, newest first.
func (h Activity) List(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	query := models.OperationQuery{Limit: activityPage + 1}
	if state := models.OperationState(c.QueryParam("state")); slices.Contains(operationStates, state) {
		query.State = state
	}
	if n, err := strconv.ParseInt(c.QueryParam("before"), 10, 64); err == nil && n > 0 {
		query.Before = n
	}
	ops, err := h.Store.ListOperations(ctx, actor, query)
	if err != nil {
		return err
	}
	m := views.Activity{State: string(query.State)}
	if len(ops) > activityPage {
		ops = ops[:activityPage]
		m.Next = activityURL(query.State, ops[activityPage-1].Num)
	}
	if query.Before > 0 {
		m.Previous = activityURL(query.State, 0)
	}
	exist, err := h.Store.ExistingSubjects(ctx, actor, ops)
	if err != nil {
		return err
	}
	running, err := h.Store.CountRunning(ctx, actor.Project)
	if err != nil {
		return err
	}
	m.Running = int(running)
	if Wants(c) == JSON {
		return h.listJSON(c, ops, m.Next)
	}
	summary, err := h.Store.ListSummary(ctx, actor, models.SubjectVolume)
	if err != nil {
		return err
	}
	m.Degraded = degraded(summary)
	for i := range ops {
		m.Rows = append(m.Rows, operationRow(&ops[i], !exist[ops[i].SubjectID]))
	}
	return Render(c, http.StatusOK, T(c, "activity.title"), views.ActivityPage(m))
}

func activityURL(state models.OperationState, before int64) string {
	url, glue := activityPath, "?"
	if state != "" {
		url += glue + "state=" + string(state)
		glue = "&"
	}
	if before > 0 {
		url += glue + "before=" + strconv.FormatInt(before, 10)
	}
	return url
}

// recentOperations are the newest operations of an object.
func recentOperations(c echo.Context, store interface {
	ListOperations(ctx context.Context, actor models.Actor, query models.OperationQuery) ([]models.Operation, error)
}, subject string) ([]views.OperationRow, error) {
	operations, err := store.ListOperations(c.Request().Context(), Actor(c), models.OperationQuery{Subject: subject, Limit: maxRecent})
	var rows []views.OperationRow
	for i := range operations {
		rows = append(rows, operationRow(&operations[i], false))
	}
	return rows, err
}

type operationJSON struct {
	ID         string                `json:"id"`
	Kind       models.Kind           `json:"kind"`
	SubjectID  string                `json:"subject_id"`
	Subject    models.SubjectType    `json:"subject_type"`
	Name       string                `json:"subject_name"`
	State      models.OperationState `json:"state"`
	Step       int                   `json:"step"`
	Steps      int                   `json:"steps"`
	Percent    int                   `json:"percent"`
	Attempts   int                   `json:"attempts"`
	Error      string                `json:"error,omitempty"`
	RequestID  string                `json:"request_id,omitempty"`
	Dependents []dependentJSON       `json:"dependents,omitempty"`
	ProjectID  string                `json:"project_id"`
	AskedBy    string                `json:"asked_by"`
	AskedAt    string                `json:"asked_at"`
	FinishedAt string                `json:"finished_at,omitempty"`
}

type dependentJSON struct {
	Type models.SubjectType `json:"type"`
	ID   string             `json:"id"`
	Name string             `json:"name,omitempty"`
}

func toOperationJSON(c echo.Context, o *models.Operation) operationJSON {
	j := operationJSON{ID: o.ID, Kind: o.Kind, SubjectID: o.SubjectID, Subject: o.SubjectType, Name: o.SubjectName, State: o.State,
		Step: o.Step, Steps: o.Steps, Percent: o.Percent, Attempts: o.Attempts, AskedBy: o.AskedBy, AskedAt: rfc3339(o.AskedAt), RequestID: o.RequestID, ProjectID: o.ProjectID}
	for _, d := range o.LastError.Dependents {
		j.Dependents = append(j.Dependents, dependentJSON(d))
	}
	if !o.LastError.None() {
		j.Error = TextOf(c, o.LastError.Text)
	}
	if o.Finished() {
		j.FinishedAt = rfc3339(o.FinishedAt)
	}
	return j
}

func (h Activity) listJSON(c echo.Context, ops []models.Operation, next string) error {
	items := make([]operationJSON, 0, len(ops))
	for i := range ops {
		items = append(items, toOperationJSON(c, &ops[i]))
	}
	Vary(c)
	return c.JSON(http.StatusOK, struct {
		Items []operationJSON `json:"items"`
		Next  string          `json:"next,omitempty"`
	}{items, next})
}

// Show is the page of one operation.
func (h Activity) Show(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	op, err := h.Store.Operation(ctx, actor, c.Param("id"))
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		Vary(c)
		return c.JSON(http.StatusOK, toOperationJSON(c, op))
	}
	exist, err := h.Store.ExistingSubjects(ctx, actor, []models.Operation{*op})
	if err != nil {
		return err
	}
	m := views.OperationDetail{Row: operationRow(op, !exist[op.SubjectID]), Form: newForm(c, activityPath+"/"+op.ID)}
	for i, name := range op.StepNames() {
		m.Steps = append(m.Steps, views.OperationStep{Name: name, State: stepState(op, i)})
	}
	if m.Export, err = h.attachedExport(c, op); err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, "operation."+string(op.Kind)), views.OperationPage(m))
}

// attachedExport tells how to reach what the operation has attached; nil
// when it is not attached any more.
func (h Activity) attachedExport(c echo.Context, op *models.Operation) (*views.Export, error) {
	if op.State != models.Succeeded || op.Params.ServerID == "" || op.Kind == models.VolumeDetach || op.Kind == models.SnapshotDetach {
		return nil, nil
	}
	of, err := h.attached(c, op)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !of.AttachedTo(op.Params.ServerID):
		return nil, nil
	}
	return exportView(c, op.SubjectType, of), nil
}

// attached are the attachments of the operation's subject.
func (h Activity) attached(c echo.Context, op *models.Operation) (*models.Attached, error) {
	if op.SubjectType == models.SubjectSnapshot {
		s, err := h.Store.Snapshot(c.Request().Context(), Actor(c), op.SubjectID)
		if err != nil {
			return nil, err
		}
		return &s.Attached, nil
	}
	v, err := h.Store.Volume(c.Request().Context(), Actor(c), op.SubjectID)
	if err != nil {
		return nil, err
	}
	return &v.Attached, nil
}

func stepState(op *models.Operation, i int) string {
	switch {
	case op.State == models.Succeeded || i < op.Step:
		return "DONE"
	case i > op.Step || op.State == models.Pending || op.State == models.Cancelled:
		return "WAITING"
	case op.State == models.Failed:
		return "FAILED"
	}
	return "RUNNING"
}

// Cancel cancels an operation that has not begun.
func (h Activity) Cancel(c echo.Context) error {
	return h.control(c, h.Store.CancelOperation, "accepted.operation.cancel")
}

// Retry queues a failed operation again.
func (h Activity) Retry(c echo.Context) error {
	return h.control(c, h.Store.RetryOperation, "accepted.operation.retry")
}

func (h Activity) control(c echo.Context, do func(context.Context, models.Actor, string) (*models.Operation, error), key string) error {
	op, err := do(c.Request().Context(), Actor(c), c.Param("id"))
	if err != nil {
		return err
	}
	return answerAccepted(c, op, pageUpdate{list: activityPath + "/" + op.ID, message: operationMessage(key, op)})
}
