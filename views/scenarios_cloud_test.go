package views_test

import (
	"time"

	"blockconsole/views"
)

// rtl runs from right to left, and bidi tries to turn what follows it.
const (
	rtl  = "אבג-גיבוי"
	bidi = "\u202egnp.exe\u200b"
)

func cloudQuotas(over bool) []views.Quota {
	asked := int64(30)
	if over {
		asked = 61
	}
	return []views.Quota{
		{Resource: "volumes", Used: 3, Limit: 10, Requested: 1},
		{Resource: "gigabytes", Used: 40, Limit: 100, Requested: asked, PerGiB: true},
		{Resource: "gigabytes_ssd", Used: 9, Limit: 10, Requested: asked, PerGiB: true, Type: "ssd"},
		{Resource: "volumes_a-type-with-a-very-long-name-that-somebody-chose", Used: 0, Limit: 0, Requested: 1},
		{Resource: "volumes_hdd", Used: 1, Limit: 2, Requested: 1, Type: "hdd", Hidden: true},
	}
}

// cloudFailure names objects that block it, one without a name.
func cloudFailure() views.Failure {
	t := views.Failure{Reason: msg("failure.reported.015"), RequestID: "req-5f0c7e1f-a2b8-c3d7-a2b8-c3d70193a5c0", Count: 5}
	for i, name := range []string{"restore-of-web", "", hostile} {
		t.Dependents[i] = views.Dependent{Kind: "volume", Link: views.Link{ID: uid(920 + i), Name: name}}
	}
	return t
}

func cloudSnapshots() []views.SnapshotRow {
	rows := snapshotRows()[:9]
	rows[0].Failure = cloudFailure()
	rows[3].Failure = views.Failure{Reason: msg("failure.reported", longName), RequestID: "req-1"}
	rows[6].Name, rows[7].Name = rtl, bidi
	for i := range rows {
		rows[i].Project = views.Link{ID: "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0", Name: "lab"}
	}
	rows[1].Project = views.Link{ID: "77aa7e1fa2b8c3d7a2b8c3d70193a5c0"}
	rows[2].Project.Name = longName
	return rows
}

func cloudVolumes() []views.VolumeRow {
	rows := volumeRows()
	rows[5].Failure = cloudFailure()
	rows[2].Name = bidi
	for i := range rows {
		rows[i].Project = views.Link{ID: "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0", Name: "lab"}
	}
	return rows
}

func ofAll(l views.List) views.List {
	l.Projects = []views.Link{{ID: "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0", Name: "lab"}, {ID: "77aa7e1fa2b8c3d7a2b8c3d70193a5c0"}, {ID: "x", Name: longName}}
	l.Degraded = views.Degraded{Since: us(12 * time.Minute), LastReadAt: us(13 * time.Minute), Reason: msg("failure.unavailable")}
	l.LastReadAt = us(13 * time.Minute)
	return l
}

func cloudScenarios() []scenario {
	snapshots, volumes := active("snapshots", views.SnapshotsPath), active("volumes", views.VolumesPath)
	all := func(f *views.PageContext) { snapshots(f); f.AllProjects = true }
	told := func(f *views.PageContext) {
		volumes(f)
		f.Project = "lab"
		f.Alerts = []views.Alert{{Message: msg("failed.told", "snapshot.delete", rtl), Detail: msg("failure.reported.015"), Sticky: true,
			RequestID: "req-5f0c7e1f-a2b8-c3d7-a2b8-c3d70193a5c0", Link: "/activity/1", LinkText: msg("failed.link")}}
	}
	filter := ofAll(list(views.SnapshotsPath))
	filter.Project, filter.Filtered, filter.FilteredCountURL = &filter.Projects[0], true, "/found"
	filter.ChipURL = map[string]string{"project": views.SnapshotsPath}
	unread := list(views.VolumesPath)
	unread.Total, unread.Next, unread.LastReadAt = 0, "", 0
	unread.Degraded = views.Degraded{Since: us(time.Minute), Reason: msg("failure.credentials")}
	row := cloudSnapshots()[0]
	row.Status = "ERROR"
	failed := operationRows()[4]
	failed.ID, failed.Failure = uid(799), cloudFailure()
	onlyQuota := formWithErrors(views.SnapshotsPath)
	onlyQuota.Errors["quota"] = msg("failure.quota", "gigabytes", "40", "100", "61")
	sizeQuota := formWithErrors(views.VolumesPath)
	sizeQuota.Errors["size_gib"] = msg("failure.quota", "gigabytes_ssd", "9", "10", "61")
	quiet := views.VolumeBrief{ID: uid(910), Name: bidi, Status: "AVAILABLE", SizeGiB: 30, Type: "ssd"}
	tooMany, clock := list(views.VolumesPath), list(views.SnapshotsPath)
	tooMany.Degraded = views.Degraded{Since: us(12 * time.Minute), LastReadAt: us(13 * time.Minute), Reason: msg("failure.too_many")}
	clock.Degraded = views.Degraded{Since: us(26 * time.Hour), LastReadAt: us(27 * time.Hour), Reason: msg("failure.clock")}
	return []scenario{
		{"cloud-volumes-too-many", false, volumes, volumesScenario(tooMany, volumeRows)},
		{"cloud-snapshots-clock", false, snapshots, snapshotsScenario(clock, fewSnapshots)},
		{"cloud-snapshots-all", false, all, snapshotsScenario(ofAll(list(views.SnapshotsPath)), cloudSnapshots)},
		{"cloud-snapshots-project", false, all, snapshotsScenario(filter, cloudSnapshots)},
		{"cloud-volumes-told", false, told, volumesScenario(list(views.VolumesPath), volumeRows)},
		{"cloud-volumes-all", false, all, volumesScenario(ofAll(list(views.VolumesPath)), cloudVolumes)},
		{"cloud-volumes-unread", false, volumes, volumesScenario(unread, func() []views.VolumeRow { return nil })},
		{"cloud-snapshot", false, snapshots, component(views.SnapshotPage(views.SnapshotDetail{Row: row, Description: "two\nlines " + bidi,
			Project: views.Link{ID: "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0", Name: "lab"}, Operations: []views.OperationRow{failed}, Deny: row.Deny, Degraded: unread.Degraded}))},
		{"cloud-operation", false, active("activity", "/activity/x"), component(views.OperationPage(views.OperationDetail{Row: failed, Form: form("/activity/x"),
			Steps: []views.OperationStep{{Name: "delete", State: "DONE"}, {Name: "gone", State: "FAILED"}}}))},
		{"cloud-activity", false, active("activity", "/activity"), component(views.ActivityPage(views.Activity{Rows: append(operationRows(), failed), Degraded: filter.Degraded}))},
		{"cloud-create-snapshot", true, volumes, component(views.SnapshotCreatePopup(views.SnapshotCreate{Form: onlyQuota, Volume: &quiet, Name: "one-more", NeedBytes: -1, FreeBytes: -1, Quotas: cloudQuotas(true)}))},
		{"cloud-create-volume", true, volumes, component(views.VolumeCreatePopup(views.VolumeCreate{Form: form(views.VolumesPath), Name: "data-1", SizeGiB: "30", MinGiB: 1, FreeBytes: -1,
			Types: []string{"ssd", "hdd"}, Zones: []string{"nova", "nova-2"}, VolumeType: "ssd", Quotas: cloudQuotas(false), Servers: []views.Link{{ID: "s1", Name: "web-1"}}}))},
		{"cloud-create-over", true, volumes, component(views.VolumeCreatePopup(views.VolumeCreate{Form: sizeQuota, Name: "data-1", SizeGiB: "61", MinGiB: 1, FreeBytes: -1, Quotas: cloudQuotas(true)}))},
		{"cloud-extend", true, volumes, component(views.ExtendPopup(views.Extend{Form: form("/x"), Volume: quiet, SizeGiB: "31", MinGiB: 31, FreeBytes: -1,
			Quotas: []views.Quota{{Resource: "gigabytes", Used: 40, Limit: 100, Requested: 1, PerGiB: true, CurrentGiB: 30}}}))},
	}
}
