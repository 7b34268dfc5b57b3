package handlers

import (
	"bytes"
	"context"
	"strings"
	"sync"

	"github.com/a-h/templ"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// snapshotRow is a snapshot as the list shows it. Nothing in it depends on who
// looks.
func snapshotRow(s *models.Snapshot, rules models.Rules) views.SnapshotRow {
	why := func(action models.Action) views.Message { return reason(rules.Snapshot(action, s)) }
	return views.SnapshotRow{
		ID: s.ID, BackendID: s.BackendID, Name: s.Name, Status: string(s.Status), Percent: s.Percent,
		Reason: Msg(s.Failure.Text), SizeGiB: s.SizeGiB,
		Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, VolumeGone: s.VolumeGone,
		Consistency: string(s.Consistency), CreatedAt: s.CreatedAt, Since: s.StatusSince,
		Deny: views.SnapshotDenials{
			Edit: why(models.ActEdit), Delete: why(models.ActDelete), Restore: why(models.ActRestore),
			Revert: why(models.ActRevert), Repair: why(models.ActRepair),
		},
	}
}

// volumeRow is a volume as the list shows it.
func volumeRow(v *models.Volume, rules models.Rules) views.VolumeRow {
	why := func(action models.Action) views.Message { return reason(rules.Volume(action, v)) }
	row := views.VolumeRow{
		ID: v.ID, BackendID: v.BackendID, Name: v.Name, Status: string(v.Status), Percent: v.Percent,
		Reason: Msg(v.Failure.Text), SizeGiB: v.SizeGiB, ServerCount: len(v.Attachments), SnapshotCount: v.SnapshotCount,
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
	return views.VolumeBrief{ID: v.ID, Name: v.Name, Status: string(v.Status), SizeGiB: v.SizeGiB, Servers: v.ServerNames(),
		Use: string(v.Use("")), Clients: v.Clients(), HoldUS: v.HoldUS}
}

func operationRow(o *models.Operation, gone bool) views.OperationRow {
	return views.OperationRow{
		ID: o.ID, Kind: string(o.Kind), Subject: views.Link{ID: o.SubjectID, Name: o.SubjectName}, SubjectKind: string(o.SubjectType),
		Gone: gone, State: string(o.State), Step: o.Step, Steps: o.Steps, Percent: o.Percent, Attempts: o.Attempts,
		Failure: Msg(o.LastError.Text), RequestID: o.RequestID, AskedBy: o.AskedBy, AskedAt: o.AskedAt, StartedAt: o.StartedAt,
		FinishedAt: o.FinishedAt, RunAt: o.RunAt, Cancel: o.Cancellable(), Retry: o.Retryable(),
	}
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
