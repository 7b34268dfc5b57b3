package handlers

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// owners are the names of the projects whose objects are shown, by id; nil where
// there is only one. They are not for changing.
type owners map[string]string

// ownersOf are those of a store.
func ownersOf(store interface {
	AllProjects() bool
	Capabilities() models.Capabilities
}) owners {
	if !store.AllProjects() {
		return nil
	}
	return store.Capabilities().ProjectNames()
}

// of is the owner as a row of a list shows it: nobody where there is only one.
func (o owners) of(project string) views.Link {
	if o == nil {
		return views.Link{}
	}
	return views.Link{ID: project, Name: o[project]}
}

// trouble is what went wrong with an object.
func trouble(f models.Failure, requestID string) views.Trouble {
	if f.None() {
		return views.Trouble{}
	}
	t := views.Trouble{Reason: Msg(f.Text), RequestID: requestID, Count: len(f.Dependents)}
	for i := range min(len(f.Dependents), len(t.Dependents)) {
		d := f.Dependents[i]
		t.Dependents[i] = views.Dependent{Kind: string(d.Type), Link: views.Link{ID: d.ID, Name: d.Name}}
	}
	return t
}

// snapshotRow is a snapshot as the list shows it. Nothing in it depends on who
// looks.
func snapshotRow(s *models.Snapshot, rules models.Rules, all owners) views.SnapshotRow {
	why := func(action models.Action) views.Message { return reason(rules.Snapshot(action, s)) }
	return views.SnapshotRow{
		ID: s.ID, BackendID: s.BackendID, Name: s.Name, Status: string(s.Status), Percent: s.Percent,
		Trouble: trouble(s.Failure, s.RequestID), SizeGiB: s.SizeGiB, Project: all.of(s.ProjectID),
		Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, VolumeGone: s.VolumeGone,
		Consistency: string(s.Consistency), CreatedAt: s.CreatedAt, Since: s.StatusSince,
		Deny: views.SnapshotDenials{
			Edit: why(models.ActEdit), Delete: why(models.ActDelete), Restore: why(models.ActRestore),
			Revert: why(models.ActRevert), Repair: why(models.ActRepair),
		},
	}
}

// volumeRow is a volume as the list shows it.
func volumeRow(v *models.Volume, rules models.Rules, all owners) views.VolumeRow {
	why := func(action models.Action) views.Message { return reason(rules.Volume(action, v)) }
	row := views.VolumeRow{
		ID: v.ID, BackendID: v.BackendID, Name: v.Name, Status: string(v.Status), Percent: v.Percent,
		Trouble: trouble(v.Failure, v.RequestID), Project: all.of(v.ProjectID), SizeGiB: v.SizeGiB, ServerCount: len(v.Attachments), SnapshotCount: v.SnapshotCount,
		CreatedAt: v.CreatedAt, Since: v.StatusSince, Note: heldBy(v),
		Deny: views.VolumeDenials{
			Snapshot: why(models.ActCreateSnapshot), Edit: why(models.ActEdit), Attach: why(models.ActAttach),
			Detach: why(models.ActDetach), Extend: why(models.ActExtend), Delete: why(models.ActDelete), Repair: why(models.ActRepair),
		},
	}
	for i := range min(len(v.Attachments), len(row.Servers)) {
		row.Servers[i] = views.Link{ID: v.Attachments[i].ServerID, Name: v.Attachments[i].ServerName}
	}
	return row
}

func reason(d *models.Denial) views.Message {
	if d == nil {
		return views.Message{}
	}
	return Msg(d.Text)
}

// RowCache keeps rows as they were rendered. Its keys are the language and the row
// itself: equal rows render to equal bytes, so an entry is never stale and
// whoever looks shares it.
type RowCache struct {
	mu   sync.RWMutex
	rows map[rowKey][]byte
}

type rowKey struct {
	language string
	row      any
}

const rowsKept = 20_000

// get returns the row's HTML. Rows on their way somewhere show how long that has
// lasted, so they are rendered each time.
func (r *RowCache) get(ctx context.Context, row any, status string, render func() templ.Component) ([]byte, error) {
	key := rowKey{i18n.Lang(ctx), row}
	lasting := !models.Status(status).InTransition()
	if lasting {
		r.mu.RLock()
		html, ok := r.rows[key]
		r.mu.RUnlock()
		if ok {
			return html, nil
		}
	}
	var b bytes.Buffer
	if err := render().Render(ctx, &b); err != nil {
		return nil, err
	}
	if lasting {
		r.put(key, b.Bytes())
	}
	return b.Bytes(), nil
}

func (r *RowCache) put(key rowKey, html []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil || len(r.rows) >= rowsKept {
		r.rows = make(map[rowKey][]byte, rowsKept/4)
	}
	r.rows[key] = html
}

// rowContext is the context that rows are rendered in: of the frame only what is
// the same for everybody.
func rowContext(ctx context.Context, site *Site) context.Context {
	return views.WithFrame(ctx, &views.Frame{TimeZone: site.TimeZone, Now: site.Now().UnixMicro()})
}

func (r *RowCache) snapshot(ctx context.Context, row views.SnapshotRow) (views.RenderedRow, error) {
	html, err := r.get(ctx, row, row.Status, func() templ.Component { return views.SnapshotRowHTML(row) })
	return views.RenderedRow{ID: row.ID, HTML: html}, err
}

func (r *RowCache) volume(ctx context.Context, row views.VolumeRow) (views.RenderedRow, error) {
	html, err := r.get(ctx, row, row.Status, func() templ.Component { return views.VolumeRowHTML(row) })
	return views.RenderedRow{ID: row.ID, HTML: html}, err
}

// snapshotBrief is a snapshot in a popup.
func snapshotBrief(s *models.Snapshot) views.SnapshotBrief {
	return views.SnapshotBrief{ID: s.ID, Name: s.Name, Status: string(s.Status), SizeGiB: s.SizeGiB,
		Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, Consistency: string(s.Consistency), CreatedAt: s.CreatedAt}
}

// volumeBrief is a volume in a popup.
func volumeBrief(v *models.Volume) views.VolumeBrief {
	return views.VolumeBrief{ID: v.ID, Name: v.Name, Status: string(v.Status), SizeGiB: v.SizeGiB, Type: v.VolumeType, Servers: v.ServerNames(),
		Use: string(v.Use("")), Clients: v.Clients(), HoldUS: v.HoldUS}
}

// operationTrouble also has the request id of what went well.
func operationTrouble(o *models.Operation) views.Trouble {
	t := trouble(o.LastError, o.RequestID)
	t.RequestID = o.RequestID
	return t
}

func operationRow(o *models.Operation, gone bool) views.OperationRow {
	return views.OperationRow{
		ID: o.ID, Kind: string(o.Kind), Subject: views.Link{ID: o.SubjectID, Name: o.SubjectName}, SubjectKind: string(o.SubjectType),
		Gone: gone, State: string(o.State), Step: o.Step, Steps: o.Steps, Percent: o.Percent, Attempts: o.Attempts,
		Trouble: operationTrouble(o), AskedBy: o.AskedBy, AskedAt: o.AskedAt, StartedAt: o.StartedAt,
		FinishedAt: o.FinishedAt, RunAt: o.RunAt, Cancel: o.Cancellable(), Retry: o.Retryable(),
	}
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// owner is the project that an object belongs to, with its name where that is known.
func owner(store interface{ Capabilities() models.Capabilities }, project string) views.Link {
	return views.Link{ID: project, Name: store.Capabilities().ProjectNames()[project]}
}

// withOwners adds the name of the owner to an export, where several are shown.
func withOwners[T any](all owners, head []string, record func(*T) []string, project func(*T) string) ([]string, func(*T) []string) {
	if all == nil {
		return head, record
	}
	return append(slices.Clone(head), "project_name"), func(row *T) []string { return append(record(row), all[project(row)]) }
}

// said is what went wrong with an object in the words of the visitor's language,
// and the backend's request id; both are empty where nothing did.
func said(c echo.Context, f models.Failure, requestID string) (text, request string) {
	if f.None() {
		return "", ""
	}
	return T(c, f.Key, anys(f.Args)...), requestID
}
