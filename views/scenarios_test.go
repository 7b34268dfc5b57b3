package views_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/a-h/templ"

	"blockconsole/views"
)

// scenario is one page or popup with data, often hostile or extreme.
type scenario struct {
	name  string
	popup bool
	frame func(*views.PageContext)
	body  func(t testing.TB, ctx context.Context) templ.Component
}

func component(c templ.Component) func(testing.TB, context.Context) templ.Component {
	return func(testing.TB, context.Context) templ.Component { return c }
}

func active(name, url string) func(*views.PageContext) {
	return func(f *views.PageContext) { f.Active, f.URL, f.Title = name, url, name }
}

func form(action string) views.Form {
	return views.Form{Action: action, Key: "key", ReturnTo: "/storage/block-storage/snapshots?q=web&status=ERROR"}
}

func formWithErrors(action string, fields ...string) views.Form {
	f := form(action)
	f.Errors = map[string]views.Message{}
	for _, name := range fields {
		switch name {
		case "name":
			f.Errors[name] = msg("name.invalid")
		case "size_gib":
			f.Errors[name] = msg("size.too_large", "512")
		case "acknowledge":
			f.Errors[name] = msg("ack.required")
		case "volume_id":
			f.Errors[name] = msg("volume.required")
		case "reason":
			f.Errors[name] = msg("reason.required")
		default:
			f.Error = msg("form.replayed")
		}
	}
	return f
}

func snapshotsScenario(l views.List, rows func() []views.SnapshotRow) func(testing.TB, context.Context) templ.Component {
	return func(t testing.TB, ctx context.Context) templ.Component {
		return views.SnapshotsPage(views.SnapshotList{List: l, Rows: renderedSnapshots(t, ctx, rows())})
	}
}

func volumesScenario(l views.List, rows func() []views.VolumeRow) func(testing.TB, context.Context) templ.Component {
	return func(t testing.TB, ctx context.Context) templ.Component {
		return views.VolumesPage(views.VolumeList{List: l, Rows: renderedVolumes(t, ctx, rows())})
	}
}

func scenarios() []scenario {
	return slices.Concat(listScenarios(), pageScenarios(), popupScenarios(), volumePopupScenarios(), serverScenarios(), cloudScenarios())
}

func listScenarios() []scenario {
	snapshots, volumes := active("snapshots", views.SnapshotsPath), active("volumes", views.VolumesPath)
	none := list(views.SnapshotsPath)
	none.Total, none.Next = 0, ""
	noVolumes := list(views.VolumesPath)
	noVolumes.Total, noVolumes.Next = 0, ""
	compact := func(f *views.PageContext) { snapshots(f); f.Compact = true }
	viewer := func(f *views.PageContext) {
		volumes(f)
		f.User = views.User{Name: "viewer-1", Role: "viewer"}
		f.Banners = []views.Message{msg("short.no_space", "/srv/blockconsole", "3145728", "1503238553")}
	}
	noAttach := func(f *views.PageContext) {
		volumes(f)
		f.Attach, f.Revert = false, false
		f.Alerts = []views.Alert{{Message: msg("accepted.volume.create", "scratch"), Link: "/activity/1", LinkText: msg("accepted.link")},
			{Message: msg("failure.internal"), Sticky: true, RequestID: "0193a5c07e1f"}}
	}
	return []scenario{
		{"snapshots", false, snapshots, snapshotsScenario(list(views.SnapshotsPath), snapshotRows)},
		{"snapshots-compact", false, compact, snapshotsScenario(list(views.SnapshotsPath), fewSnapshots)},
		{"snapshots-filtered", false, snapshots, snapshotsScenario(filtered(views.SnapshotsPath), func() []views.SnapshotRow { return snapshotRows()[:3] })},
		{"snapshots-none-found", false, snapshots, snapshotsScenario(filtered(views.SnapshotsPath), func() []views.SnapshotRow { return nil })},
		{"snapshots-empty", false, snapshots, snapshotsScenario(none, func() []views.SnapshotRow { return nil })},
		{"volumes", false, volumes, volumesScenario(list(views.VolumesPath), volumeRows)},
		{"volumes-viewer-degraded", false, viewer, volumesScenario(list(views.VolumesPath), volumeRows)},
		{"volumes-local-messages", false, noAttach, volumesScenario(list(views.VolumesPath), volumeRows)},
		{"volumes-empty", false, volumes, volumesScenario(noVolumes, func() []views.VolumeRow { return nil })},
	}
}

func pageScenarios() []scenario {
	nobody := func(f *views.PageContext) { f.User = views.User{}; f.URL = "/login?next=%2F" }
	rows, volumes := snapshotRows(), volumeRows()
	return []scenario{
		{"snapshot-locked", false, active("snapshots", views.SnapshotsPath+"/x"), component(views.SnapshotPage(views.SnapshotDetail{Row: rows[9], Deny: rows[9].Deny}))},
		{"volume-locked", false, active("volumes", views.VolumesPath+"/x"), component(views.VolumePage(views.VolumeDetail{Row: volumes[2], Snapshots: rows[8:10], Deny: volumes[2].Deny}))},
		{"snapshot", false, active("snapshots", views.SnapshotsPath+"/x"), component(views.SnapshotPage(views.SnapshotDetail{Row: rows[3], Description: hostile, Project: views.Link{ID: "default"}, CreatedBy: "kim",
			TakenFrom: []string{"web-1", "web-2"}, Volumes: []views.VolumeBrief{*attachedVolume()}, Operations: operationRows()[:5], Deny: rows[3].Deny}))},
		{"volume", false, active("volumes", views.VolumesPath+"/x"), component(views.VolumePage(views.VolumeDetail{Row: volumes[0], Project: views.Link{ID: "default"}, Type: "ssd", Zone: "nova", CreatedBy: "admin",
			Source: &views.Link{ID: uid(1), Name: "web-data-1122-1530"}, SourceTaken: "crash", Attached: []views.AttachedServer{{Server: views.Link{ID: "srv-1", Name: "web-1"}}}, Snapshots: rows[:4], Operations: operationRows(), Deny: volumes[0].Deny}))},
		{"volume-bare", false, active("volumes", views.VolumesPath+"/x"), component(views.VolumePage(views.VolumeDetail{Row: volumes[6]}))},
		{"activity", false, active("activity", "/activity"), component(views.ActivityPage(views.Activity{Rows: operationRows(), Running: 2, Next: "/activity?after=1"}))},
		{"activity-empty", false, active("activity", "/activity"), component(views.ActivityPage(views.Activity{State: "FAILED"}))},
		{"operation", false, active("activity", "/activity/x"), component(views.OperationPage(views.OperationDetail{Row: operationRows()[4], Form: form("/activity/x"),
			Steps: []views.OperationStep{{Name: "create", State: "DONE"}, {Name: "wait", State: "RUNNING"}, {Name: "attach", State: "WAITING"}, {Name: "finish", State: "FAILED"}}}))},
		{"audit", false, active("audit", "/admin/audit"), component(views.AuditPage(views.Audit{Rows: []views.AuditRow{
			{At: us(time.Hour), LastAt: us(time.Second), Count: 635, User: "viewer", Address: "2001:db8::1234:5678:9abc:def0", Action: "request", Subject: views.Link{Name: "POST /storage/block-storage/volumes/:id/snapshots"}, Details: []views.AuditDetail{{Value: msg("error.role", "administrator")}}, Outcome: "denied", RequestID: "0193a5c1"},
			{At: us(time.Minute), User: "admin", Address: "192.0.2.10", Action: "snapshot.repair", Subject: views.Link{ID: uid(4), Name: "old-logs"}, Kind: "snapshot", Details: []views.AuditDetail{{Name: msg("field.reason"), Text: hostile}, {Name: msg("audit.noun", "Volume"), Text: uid(900), Kind: "volume"}, {Name: msg("column.size"), Value: msg("audit.gib", "2048")}}, Outcome: "accepted", RequestID: "0193a5c0"},
			{At: us(time.Hour), User: "kim", Address: "2001:db8::1", Action: "login.failed", Outcome: "denied", RequestID: "0193a5c1"},
			{At: us(2 * time.Hour), User: "kim", Address: "192.0.2.11", Action: "something.new", Subject: views.Link{ID: "x", Name: longName}, Kind: "server", Details: []views.AuditDetail{{Text: longName}}, Outcome: "odd"}}, Previous: "/admin/audit", Path: "/admin/audit",
			Query: "kim " + hostile, Action: "something.new", Actions: []string{"login", "login.failed", "snapshot.repair"}, Outcome: "denied", Outcomes: []string{"ok", "accepted", "denied"}, From: "2026-11-01", To: "2026-11-22",
			Filtered: true, Notice: msg("audit.unknown_days"), CSVURL: "/admin/audit?format=csv", JSONURL: "/admin/audit?format=json"}))},
		{"audit-empty", false, active("audit", "/admin/audit"), component(views.AuditPage(views.Audit{Path: "/admin/audit", Outcomes: []string{"ok"}}))},
		{"users", false, active("users", "/admin/users"), component(views.UsersPage(views.Users{Form: formWithErrors("/admin/users", "name"), Name: "Kim!", Role: "operator", Rows: []views.UserRow{
			{ID: uid(1), Name: "admin", Role: "administrator", CreatedAt: us(1000 * time.Hour), SeenAt: us(time.Minute), Self: true},
			{ID: uid(2), Name: "kim", Role: "operator", CreatedAt: us(900 * time.Hour), SeenAt: us(50 * time.Hour)},
			{ID: uid(3), Name: "former-colleague", Role: "viewer", Disabled: true, CreatedAt: us(900 * time.Hour)}}}))},
		{"account", false, active("account", "/account"), component(views.AccountPage(views.Account{Form: views.Form{Action: "/account", Errors: map[string]views.Message{"again": msg("password.mismatch")}}, Sessions: []views.SessionRow{
			{ID: uid(1), Address: "127.0.0.1", Browser: "Chromium 156, Linux", SeenAt: us(time.Second), Current: true}, {ID: uid(2), Address: "192.0.2.10", Browser: "Firefox 147, Windows", SeenAt: us(5 * time.Hour)}}}))},
		{"help", false, active("help", "/help"), component(views.HelpPage())},
		{"error-404", false, active("", "/nowhere"), component(views.ErrorPage(views.ErrorInfo{Status: 404, Message: msg("error.404"), Guidance: msg("error.404.guide"), RequestID: "0193a5c07e1f"}))},
		{"login", false, nobody, component(views.LoginPage(views.Login{Next: "/"}))},
		{"login-failed", false, nobody, component(views.LoginPage(views.Login{Form: views.Form{Error: msg("login.failed")}, Username: hostile, Next: "/"}))},
	}
}

func popupScenarios() []scenario {
	onList := active("snapshots", views.SnapshotsPath)
	rows := snapshotRows()
	item := func(r views.SnapshotRow) views.DeleteItem {
		return views.DeleteItem{ID: r.ID, Name: r.Name, Status: r.Status, SizeGiB: r.SizeGiB, Volume: r.Volume, CreatedAt: r.CreatedAt}
	}
	brief := views.SnapshotBrief{ID: rows[1].ID, Name: rows[1].Name, SizeGiB: 2048, Volume: rows[1].Volume, Consistency: "crash", TakenAt: rows[1].TakenAt}
	mixed := views.SnapshotBrief{ID: rows[9].ID, Name: rows[9].Name, SizeGiB: 30, Volume: rows[9].Volume, Consistency: rows[9].Consistency, TakenAt: rows[9].TakenAt}
	lockedItem := item(rows[0])
	lockedItem.Locked = locked()
	quiet := views.VolumeBrief{ID: uid(910), Name: "scratch", Status: "AVAILABLE", SizeGiB: 20}
	edit := form(views.SnapshotsPath + "/x/edit")
	edit.Version = 7
	refused := form("")
	refused.Denial = &views.Denial{Reason: msg("deny.has_volumes", "2"), Volumes: []views.Link{{ID: uid(1), Name: "restore-of-web"}, {ID: uid(2), Name: hostile}}, Servers: []string{"web-1"}, Guidance: msg("guide.ask_admin")}
	return []scenario{
		{"create", true, onList, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: form(views.SnapshotsPath), Volume: &quiet, Name: "scratch-1122-1530", NeedBytes: 20 << 30, FreeBytes: 120 << 30}))},
		{"create-attached", true, onList, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: form(views.SnapshotsPath), Volume: attachedVolume(), Name: "db-main-1122-1530", OneInstant: true, NeedBytes: -1, FreeBytes: 120 << 30}))},
		{"create-attached-wrong", true, onList, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: formWithErrors(views.SnapshotsPath, "name", "acknowledge"), Volume: attachedVolume(), Name: "스냅샷 " + hostile, NeedBytes: 2048 << 30, FreeBytes: 120 << 30, NameTaken: true}))},
		{"create-choose", true, onList, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: formWithErrors(views.SnapshotsPath, "volume_id"), SearchURL: "/choices", NeedBytes: -1, FreeBytes: -1,
			VolumeChoices: []views.VolumeBrief{quiet, *attachedVolume(), {ID: uid(5), Name: longName, SizeGiB: 1, Status: "AVAILABLE"}, {ID: uid(6), Status: "AVAILABLE", SizeGiB: 3}}}))},
		{"edit", true, onList, component(views.EditPopup(views.Edit{Form: edit, Kind: "snapshot", Name: "web-data-1122-1530", Description: "before the upgrade"}))},
		{"edit-conflict", true, onList, component(views.EditPopup(views.Edit{Form: formWithErrors(views.SnapshotsPath+"/x/edit", "name"), Kind: "snapshot", Name: hostile, Conflict: &views.EditConflict{Name: "by-someone-else", By: "kim", At: us(time.Minute)}}))},
		{"delete", true, onList, component(views.DeletePopup(views.Delete{Form: form("/x"), Kind: "snapshot", Items: []views.DeleteItem{item(rows[0])}}))},
		{"delete-many", true, onList, component(views.DeletePopup(views.Delete{Form: form("/x"), Kind: "snapshot", Items: []views.DeleteItem{item(rows[0]), item(rows[7]), item(rows[8])},
			Blocked: []views.BlockedItem{{DeleteItem: item(rows[3]), Denial: views.Denial{Reason: msg("deny.error_deleting")}}, {DeleteItem: item(rows[1]), Denial: *refused.Denial}}}))},
		{"delete-blocked", true, onList, component(views.DeletePopup(views.Delete{Form: form("/x"), Kind: "snapshot", Blocked: []views.BlockedItem{{DeleteItem: item(rows[3]), Denial: views.Denial{Reason: msg("deny.error_deleting")}}}}))},
		{"refused", true, onList, component(views.DeletePopup(views.Delete{Form: refused, Kind: "snapshot"}))},
		{"chooser", true, onList, component(views.ChooserPopup(views.Chooser{Title: msg("snapshot.edit"), Reason: msg("guide.select_one"), Form: form("")}))},
		{"repair", true, onList, component(views.RepairPopup(views.Repair{Form: formWithErrors("/x", "reason"), Kind: "snapshot", ID: rows[3].ID, Name: "old-logs", Status: "ERROR_DELETING", Since: us(400 * time.Hour), Failure: msg("failure.busy", "1")}))},
		{"lock", true, onList, component(views.LockPopup(views.Lock{Form: form("/x"), Kind: "snapshot", Items: []views.DeleteItem{item(rows[0])}, Today: "2026-11-22"}))},
		{"lock-changed", true, onList, component(views.LockPopup(views.Lock{Form: formWithErrors("/x", "until", "reason", "form"), Kind: "volume", Items: []views.DeleteItem{lockedItem}, Until: "2026-12-01", Reason: longName, Today: "2026-11-22", Changed: true, OursAlone: true}))},
		{"lock-unlocked-meanwhile", true, onList, component(views.LockPopup(views.Lock{Form: form("/x"), Kind: "volume", Items: []views.DeleteItem{item(rows[0])}, Changed: true}))},
		{"lock-many", true, onList, component(views.LockPopup(views.Lock{Form: form("/x"), Kind: "snapshot", Items: []views.DeleteItem{item(rows[1]), lockedItem, item(rows[8])}, Today: "2026-11-22",
			Blocked: []views.BlockedItem{{DeleteItem: item(rows[5]), Denial: views.Denial{Reason: msg("deny.deleting")}}}}))},
		{"lock-blocked", true, onList, component(views.LockPopup(views.Lock{Form: form("/x"), Kind: "snapshot", Blocked: []views.BlockedItem{{DeleteItem: item(rows[5]), Denial: views.Denial{Reason: msg("deny.deleting")}}}}))},
		{"lock-refused", true, onList, component(views.LockPopup(views.Lock{Form: refused, Kind: "snapshot"}))},
		{"unlock", true, onList, component(views.UnlockPopup(views.Lock{Form: formWithErrors("/x", "reason"), Kind: "snapshot", Items: []views.DeleteItem{lockedItem}}))},
		{"unlock-refused", true, onList, component(views.UnlockPopup(views.Lock{Form: refused, Kind: "volume"}))},
		{"revert", true, onList, component(views.RevertPopup(views.Revert{Form: form("/x"), Snapshot: brief, Volume: quiet}))},
		{"restore", true, onList, component(views.VolumeCreatePopup(views.VolumeCreate{Form: form(views.VolumesPath), Snapshot: &brief, Name: "db-restore-1122", SizeGiB: "2048", MinGiB: 2048, MaxGiB: 4096, FreeBytes: 4 << 40,
			Servers: []views.Link{{ID: "s1", Name: "web-1"}, {ID: "s2", Name: hostile}}}))},
		{"restore-mixed", true, onList, component(views.VolumeCreatePopup(views.VolumeCreate{Form: form(views.VolumesPath), Snapshot: &mixed, Name: "db-restore-1122", SizeGiB: "30", MinGiB: 30, MaxGiB: 4096, FreeBytes: -1}))},
		{"create-attached-cloud", true, onList, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: form(views.SnapshotsPath), Volume: attachedVolume(), Name: "db-main-1122-1530", NeedBytes: -1, FreeBytes: -1}))},
		{"popup-error", true, onList, component(views.ErrorPage(views.ErrorInfo{Status: 404, Message: msg("error.404"), Guidance: msg("error.404.guide"), RequestID: "0193a5c07e1f"}))},
	}
}

func volumePopupScenarios() []scenario {
	onList := active("volumes", views.VolumesPath)
	attached := *attachedVolume()
	servers := []views.Link{{ID: "s1", Name: "web-1"}, {ID: "s2", Name: longName}}
	return []scenario{
		{"volume-create", true, onList, component(views.VolumeCreatePopup(views.VolumeCreate{Form: formWithErrors(views.VolumesPath, "name", "size_gib", "form"), Images: []views.ImageBrief{{ID: "debian.raw", Name: "debian.raw", SizeBytes: 2 << 30},
			{ID: "install.iso", Name: "install.iso", SizeBytes: 700 << 20, Format: "ISO 9660"}, {ID: "disk.img", Name: "disk.img", SizeBytes: 3 << 20, Format: "QCOW2", Container: true},
			{ID: `"two\nlines.img"`, Name: `"two\nlines.img"`, SizeBytes: 1 << 20, Unusable: views.NewMessage("image.unusable.name")}},
			Name: "내 볼륨", SizeGiB: "99999", MinGiB: 1, MaxGiB: 512, FreeBytes: 512 << 30, NameTaken: true, Servers: servers, Types: []string{"ssd", "hdd"}, Zones: []string{"nova"}}))},
		{"volume-delete", true, onList, component(views.DeletePopup(views.Delete{Form: form("/x"), Kind: "volume", Items: []views.DeleteItem{{ID: uid(910), Name: "scratch", SizeGiB: 20}}}))},
		{"extend", true, onList, component(views.ExtendPopup(views.Extend{Form: form("/x"), Volume: attached, SizeGiB: "2049", MinGiB: 2049, MaxGiB: 4096, FreeBytes: 3 << 40}))},
		{"attach", true, onList, component(views.AttachPopup(views.Attach{Form: form("/x"), Volume: attached, Servers: servers}))},
		{"detach", true, onList, component(views.DetachPopup(views.Detach{Form: form("/x"), Volume: attached, Servers: servers[:1]}))},
	}
}
