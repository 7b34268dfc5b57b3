package handlers

import (
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// projectNames are the names of the projects by id; nil where only one project is
// shown. They must not be changed.
type projectNames map[string]string

// projectNamesOf returns the names that a store knows.
func projectNamesOf(store interface {
	AllProjects() bool
	Capabilities() models.Capabilities
}) projectNames {
	if !store.AllProjects() {
		return nil
	}
	return store.Capabilities().ProjectNames()
}

// link is the project as a row shows it; empty where only one project is shown.
func (o projectNames) link(project string) views.Link {
	if o == nil {
		return views.Link{}
	}
	return views.Link{ID: project, Name: o[project]}
}

// failureView is the failure of an object.
func failureView(f models.Failure, requestID string) views.Failure {
	if f.None() {
		return views.Failure{}
	}
	t := views.Failure{Reason: Msg(f.Text), RequestID: requestID, Count: len(f.Dependents)}
	for i := range min(len(f.Dependents), len(t.Dependents)) {
		d := f.Dependents[i]
		t.Dependents[i] = views.Dependent{Kind: string(d.Type), Link: views.Link{ID: d.ID, Name: d.Name}}
	}
	return t
}

// snapshotRow is a snapshot in a list. Nothing in it depends on the user.
func snapshotRow(s *models.Snapshot, rules models.Rules, all projectNames) views.SnapshotRow {
	why := func(action models.Action) views.Message { return denialMessage(rules.Snapshot(action, s)) }
	return views.SnapshotRow{
		ID: s.ID, BackendID: s.BackendID, Name: s.Name, Status: string(s.Status), Percent: s.Percent,
		Failure: failureView(s.Failure, s.RequestID), SizeGiB: s.SizeGiB, Project: all.link(s.ProjectID),
		Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, VolumeDeleted: s.VolumeGone,
		Consistency: string(s.Consistency), CreatedAt: s.CreatedAt, TakenAt: s.TakenAt, Since: s.StatusSince, Locked: lockView(s.Lock, rules.Now),
		Note: readersNote(s), NoteQuiet: len(s.LeavingClients()) == 0, Damage: Msg(s.Checks.Damage.Text),
		Deny: views.SnapshotDenials{
			Edit: why(models.ActEdit), Delete: why(models.ActDelete), Restore: why(models.ActRestore),
			Revert: why(models.ActRevert), Repair: why(models.ActRepair), Check: why(models.ActCheck),
			Attach: why(models.ActAttach), Detach: why(models.ActDetach),
			Lock: why(models.ActLock), Unlock: why(models.ActUnlock),
		},
	}
}

// volumeRow is a volume in a list. Nothing in it depends on the user.
func volumeRow(v *models.Volume, rules models.Rules, all projectNames) views.VolumeRow {
	why := func(action models.Action) views.Message { return denialMessage(rules.Volume(action, v)) }
	row := views.VolumeRow{
		ID: v.ID, BackendID: v.BackendID, Name: v.Name, Status: string(v.Status), Percent: v.Percent,
		Failure: failureView(v.Failure, v.RequestID), Project: all.link(v.ProjectID), SizeGiB: v.SizeGiB, ServerCount: len(v.Attachments), SnapshotCount: v.SnapshotCount,
		CreatedAt: v.CreatedAt, Since: v.StatusSince, Note: busyNote(v), Locked: lockView(v.Lock, rules.Now),
		Deny: views.VolumeDenials{
			Snapshot: why(models.ActCreateSnapshot), Edit: why(models.ActEdit), Attach: why(models.ActAttach),
			Detach: why(models.ActDetach), Extend: why(models.ActExtend), Delete: why(models.ActDelete), Repair: why(models.ActRepair),
			Lock: why(models.ActLock), Unlock: why(models.ActUnlock),
		},
	}
	for i := range min(len(v.Attachments), len(row.Servers)) {
		row.Servers[i] = views.Link{ID: v.Attachments[i].ServerID, Name: v.Attachments[i].ServerName}
	}
	return row
}

// lockView is the lock at a time.
func lockView(l models.Lock, now time.Time) views.Locked {
	l = l.At(now)
	return views.Locked{Until: l.LockedUntil, Reason: l.LockReason, By: l.LockedBy, At: l.LockedAt}
}

// lockJSON is what lists and pages tell programs of a lock: null without one.
type lockJSON struct {
	LockedUntil *string `json:"locked_until"`
	LockReason  string  `json:"lock_reason"`
}

func toLockJSON(l models.Lock, now time.Time) lockJSON {
	if l = l.At(now); !l.Locked() {
		return lockJSON{}
	}
	until := rfc3339(l.LockedUntil)
	return lockJSON{&until, l.LockReason}
}

// lockCells are the columns locked_until and lock_reason of an export.
func lockCells(l models.Lock, now time.Time) (until any, reason string) {
	if l = l.At(now); !l.Locked() {
		return "", ""
	}
	return time.UnixMicro(l.LockedUntil), l.LockReason
}

func denialMessage(d *models.Denial) views.Message {
	if d == nil {
		return views.Message{}
	}
	return Msg(d.Text)
}

// snapshotBrief is a snapshot in a popup.
func snapshotBrief(s *models.Snapshot) views.SnapshotBrief {
	return views.SnapshotBrief{ID: s.ID, Name: s.Name, Status: string(s.Status), SizeGiB: s.SizeGiB,
		Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, Consistency: string(s.Consistency), TakenAt: s.TakenAt,
		Servers: s.ServerNames(), Damage: Msg(s.Checks.Damage.Text)}
}

// volumeBrief is a volume in a popup.
func volumeBrief(v *models.Volume) views.VolumeBrief {
	return views.VolumeBrief{ID: v.ID, Name: v.Name, Status: string(v.Status), SizeGiB: v.SizeGiB, Type: v.VolumeType, Servers: v.ServerNames(),
		Use: string(v.Use("")), Clients: v.Clients(), WritePauseMicros: v.HoldUS}
}

// operationFailure has the request id also without a failure.
func operationFailure(o *models.Operation) views.Failure {
	t := failureView(o.LastError, o.RequestID)
	t.RequestID = o.RequestID
	return t
}

func operationRow(o *models.Operation, gone bool) views.OperationRow {
	return views.OperationRow{
		ID: o.ID, Kind: string(o.Kind), Subject: views.Link{ID: o.SubjectID, Name: o.SubjectName}, SubjectKind: string(o.SubjectType),
		SubjectDeleted: gone, State: string(o.State), Step: o.Step, Steps: o.Steps, Percent: o.Percent, Attempts: o.Attempts,
		Failure: operationFailure(o), AskedBy: o.AskedBy, AskedAt: o.AskedAt, StartedAt: o.StartedAt,
		FinishedAt: o.FinishedAt, RunAt: o.RunAt, Cancel: o.Cancellable(), Retry: o.Retryable(),
	}
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// projectLink is the project with its name, where that is known.
func projectLink(store interface{ Capabilities() models.Capabilities }, project string) views.Link {
	return views.Link{ID: project, Name: store.Capabilities().ProjectNames()[project]}
}

// withProjectNames adds a column with the project's name, where several projects are
// shown.
func withProjectNames[T any](all projectNames, head []string, record func(*T) []any, project func(*T) string) ([]string, func(*T) []any) {
	if all == nil {
		return head, record
	}
	return append(slices.Clone(head), "project_name"), func(row *T) []any { return append(record(row), all[project(row)]) }
}

// failureText is the failure in the language of the request, and the backend's
// request id; both are empty without a failure.
func failureText(c echo.Context, f models.Failure, requestID string) (text, request string) {
	if f.None() {
		return "", ""
	}
	return TextOf(c, f.Text), requestID
}

// quotaViews are the project's quotas in a popup. chosen is the volume type. Without a
// known size what is asked in GiB is -1.
func quotaViews(needs []models.QuotaUse, chosen string, base int, known bool) []views.Quota {
	var all []views.Quota
	for _, n := range needs {
		q := views.Quota{Resource: n.What, Used: n.Used, Limit: n.Limit, Requested: n.Asked, PerGiB: n.PerGiB, Type: n.Type,
			Hidden: n.Type != "" && n.Type != chosen}
		if n.PerGiB {
			q.CurrentGiB = base
			if !known {
				q.Requested = -1
			}
		}
		all = append(all, q)
	}
	return all
}

// Msg converts a text of the models to one of the views.
func Msg(t models.Text) views.Message { return views.NewMessage(t.Key, t.Args...) }

// Denial converts a denial of the models to one of the views.
func Denial(d *models.Denial) *views.Denial {
	if d == nil {
		return nil
	}
	return &views.Denial{Reason: Msg(d.Text), Guidance: Msg(d.Guidance), Volumes: links(d.Volumes), Snapshots: links(d.Snaps), Servers: d.Servers}
}

func links(all []models.Link) []views.Link {
	var out []views.Link
	for _, l := range all {
		out = append(out, views.Link(l))
	}
	return out
}
