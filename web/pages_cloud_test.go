package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

const (
	ownProject   = "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0"
	otherProject = "77aa7e1fa2b8c3d7a2b8c3d70193a5c0"
)

// limited gives the project of the board limits, as a cloud tells them.
func (b *board) limited(quotas ...models.Quota) {
	facts := b.store.Capabilities()
	facts.Types, facts.Quotas = []string{"ssd", "__DEFAULT__", "hdd"}, quotas
	b.store.SetCapabilities(facts)
}

func someQuotas() []models.Quota {
	return []models.Quota{
		{What: "volumes", Used: 3, Limit: 10}, {What: "snapshots", Used: 9, Limit: 10}, {What: "gigabytes", Used: 60, Limit: 100},
		{What: "gigabytes_ssd", Used: 10, Limit: 20}, {What: "volumes_hdd", Used: 0, Limit: -1},
		{What: "per_volume_gigabytes", Used: 0, Limit: 500}, {What: "backups", Used: 1, Limit: 1},
	}
}

func TestQuotasStandInThePopups(t *testing.T) {
	b := newBoard(t)
	v := b.volume("data", "30")
	b.limited(someQuotas()...)
	a := b.get(views.VolumesPath + "/new")
	if n := a.doc(t).Find(".quota").Length(); n != 3 {
		t.Fatalf("%d limits, want volumes, gigabytes and those of ssd", n)
	}
	if n := a.doc(t).Find("select[name=volume_type] option").Length(); n != 3 {
		t.Errorf("%d types are offered, want the default, ssd and hdd", n)
	}
	wantText(t, a, ".quota[data-per=one] .quota-figures", "사용 3 + 이번 1 / 한도 10")
	wantText(t, a, ".quota[data-per=gib] .quota-figures", "사용 60 + 이번 10 / 한도 100")
	wantText(t, a, ".quota[data-for=ssd][hidden] .quota-name", "용량(GiB) (ssd)")
	meter := a.doc(t).Find(".quota[data-per=gib] [role=meter]").First()
	if meter.AttrOr("aria-valuenow", "") != "70" || meter.AttrOr("aria-valuemax", "") != "100" || meter.AttrOr("aria-label", "") == "" {
		t.Errorf("the meter says %v", meter.Nodes[0].Attr)
	}
	wantText(t, b.get(views.VolumesPath+"/new", "Accept-Language", "en"), ".quota[data-per=gib] .quota-figures", "60 used + 10 now / 100")

	// A snapshot counts with the whole size of its volume.
	a = b.get(volumePath(v, "snapshots/new"))
	wantText(t, a, ".quota[data-per=one] .quota-figures", "사용 9 + 이번 1 / 한도 10")
	wantText(t, a, ".quota[data-per=gib] .quota-figures", "사용 60 + 이번 30 / 한도 100")
	wantText(t, a, ".quotas .hint", "전체 크기")
	wantText(t, b.get(views.SnapshotsPath+"/new"), ".quota[data-per=gib] .quota-figures", "이번 — /")
	if b.get(views.SnapshotsPath+"/new").doc(t).Find(`input[name=volume_id][data-gib="30"]`).Length() != 1 {
		t.Error("a choice does not tell its size")
	}

	a = b.get(volumePath(v, "extend"))
	wantText(t, a, ".quota[data-base='30'] .quota-figures", "이번 1 /")
	wantNone(t, a, ".quota[data-per=one]")

	b.limited()
	for _, path := range []string{views.VolumesPath + "/new", volumePath(v, "snapshots/new"), volumePath(v, "extend")} {
		wantNone(t, b.get(path), ".quotas")
	}
}

func TestOverQuotaIsRefusedWithTheFigures(t *testing.T) {
	b := newBoard(t)
	v := b.volume("data", "30")
	b.limited(someQuotas()...)
	unchanged := b.unchanged()

	a := b.post(views.VolumesPath, form("name", "too-large", "size_gib", "41"), htmx...)
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantText(t, a, "#e-size_gib", "한도 100, 사용 중 60, 요청 41")
	wantText(t, a, ".quota-over .quota-figures", "한도 초과")
	a = b.post(views.VolumesPath, form("name", "too-large", "size_gib", "11", "volume_type", "ssd"), htmx...)
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantText(t, a, "#e-size_gib", "용량(GiB) (ssd) 한도를 넘습니다. 한도 20, 사용 중 10, 요청 11")
	if a.doc(t).Find(".quota[data-for=ssd]:not([hidden])").Length() != 1 {
		t.Error("the limit of the chosen type is not shown")
	}
	a = b.post(volumePath(v, "extend"), form("size_gib", "71"), htmx...)
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantText(t, a, "#e-size_gib", "요청 41")

	full := someQuotas()
	full[0].Used, full[1].Used = 10, 10
	b.limited(full...)
	a = b.post(views.VolumesPath, form("name", "one-more", "size_gib", "1"), htmx...)
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantText(t, a, "#e-quota", "Volume 수 한도를 넘습니다. 한도 10, 사용 중 10, 요청 1.")
	a = b.post(views.SnapshotsPath, form("volume_id", v.ID, "name", "one-more"), htmx...)
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantText(t, a, "#e-quota", "Block Snapshot 수 한도를 넘습니다")
	body := wrong(t, b.post(views.SnapshotsPath, form("volume_id", v.ID, "name", "one-more"), asJS...), http.StatusUnprocessableEntity)
	if !strings.Contains(body.Error.Fields["quota"], "10") {
		t.Errorf("a program is told %+v", body.Error)
	}
	unchanged(t)
	b.limited(someQuotas()...)
	accepted(t, b.post(views.VolumesPath, form("name", "fits", "size_gib", "40"), asJS...))
	accepted(t, b.post(views.SnapshotsPath, form("volume_id", v.ID, "name", "fits"), asJS...))
}

func TestOldDataSaysSinceWhenAndWhy(t *testing.T) {
	b := newBoard(t)
	empty := b.get(views.SnapshotsPath)
	wantText(t, empty, ".empty-title", "아직 읽지 못했습니다")
	wantNone(t, empty, "[data-degraded]")
	v := b.volume("data", "1")
	if err := b.mirror.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantText(t, b.get(views.SnapshotsPath), ".empty-title", "Block Snapshot이 없습니다")
	b.clock.Add(3 * time.Minute)
	note := func(key string) {
		t.Helper()
		for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
			failure := models.Failure{}
			if key != "" {
				failure.Text = models.NewText(key)
			}
			if err := b.store.Sync.RecordSync(t.Context(), kind, b.clock.Now(), failure); err != nil {
				t.Fatal(err)
			}
		}
	}
	note("failure.unavailable")
	b.clock.Add(2 * time.Minute)
	note("failure.unavailable")
	for _, path := range []string{views.VolumesPath, views.SnapshotsPath, volumePath(v, ""), "/activity"} {
		a := b.get(path)
		wantStatus(t, a, http.StatusOK)
		wantText(t, a, "[data-degraded] .callout-title", "2026-11-22 15:33부터")
		wantText(t, a, "[data-degraded]", "저장소가 응답하지 않습니다. 아래는 5분 전 확인한 내용입니다. 요청은 접수해")
	}
	wantText(t, b.get(views.VolumesPath), "#volume-"+v.ID, "AVAILABLE")
	if b.get(views.VolumesPath).doc(t).Find(".fresh.stale").Length() != 1 {
		t.Error("the age does not look old")
	}
	// Popups can be used, and what is asked for waits.
	wantStatus(t, b.get(volumePath(v, "edit")), http.StatusOK)
	accepted(t, b.post(volumePath(v, "edit"), form("name", "renamed"), asJS...))
	note("failure.credentials")
	wantText(t, b.get(views.VolumesPath, "Accept-Language", "en"), "[data-degraded]", "refuses the console's credentials")
	for key, says := range map[string]string{"failure.too_many": "너무 많다고", "failure.certificate": "CA 설정", "failure.clock": "시계", "failure.token": "접근 규칙"} {
		note(key)
		wantText(t, b.get(views.VolumesPath), "[data-degraded]", says)
	}
	note("failure.other_project")
	wantText(t, b.get(views.VolumesPath), "[data-degraded]", "다른 프로젝트")
	note("")
	wantNone(t, b.get(views.VolumesPath), "[data-degraded]")
}

// TestOpenListsHearThatTheBackendFails: they are read again, with the banner.
func TestOpenListsHearThatTheBackendFails(t *testing.T) {
	b := liveBoard(t)
	if err := b.mirror.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := b.open(b.browser, b.eventsOf(b.browser, views.VolumesPath))
	note := func(failure models.Failure) {
		t.Helper()
		if err := b.store.Sync.RecordSync(t.Context(), models.SubjectVolume, b.clock.Now(), failure); err != nil {
			t.Fatal(err)
		}
	}
	note(models.Failure{})
	s.until("fresh") // that all is well is known
	note(models.Failure{Text: models.NewText("failure.unavailable")})
	s.until("list")
	note(models.Failure{})
	s.until("list")
}

// TestFailuresAreExplained: in the row, on the pages, and to whoever asked.
func TestFailuresAreExplained(t *testing.T) {
	b := liveBoard(t)
	v := b.volume("data", "1")
	s := b.snapshot(v, "shot")
	mine := b.open(b.browser, b.eventsOf(b.browser, views.SnapshotsPath))
	theirs := b.open(b.as(models.Viewer), b.eventsOf(b.browser, views.SnapshotsPath))
	op := b.refuse(s, v)

	e, _ := mine.until("told")
	for _, part := range []string{`hx-target="#messages"`, "data-sticky", "Block Snapshot 삭제 실패: shot", "이 스냅샷으로 만든 Volume", "req-77", "/activity/" + op.ID} {
		if !strings.Contains(e.data, part) {
			t.Errorf("%q is not in %s", part, e.data)
		}
	}
	row := b.get(views.SnapshotsPath)
	at := "#snapshot-" + s.ID + " .trouble "
	wantText(t, row, at+".why", "이 스냅샷으로 만든 Volume")
	wantText(t, row, at+`a[href="`+volumePath(v, "")+`"]`, "data")
	if row.doc(t).Find(at+`[data-copy="req-77"][aria-label]`).Length() != 1 {
		t.Errorf("no request id to copy in %s", row.body)
	}
	page := b.get(snapshotPath(s, ""))
	wantText(t, page, ".detail-callout", "이 스냅샷으로 만든 Volume")
	wantText(t, page, ".detail-callout .blockers a", "data")
	wantText(t, page, ".detail-callout .alert-id code", "req-77")
	wantText(t, b.get("/activity"), "#operation-"+op.ID+" .trouble a", "data")
	timeline := b.get("/activity/" + op.ID)
	wantText(t, timeline, ".detail-callout .callout-title", "이 스냅샷으로 만든 Volume")
	wantText(t, timeline, ".detail-callout .blockers a", "data")
	var listed struct{ Items []operationJSONBody }
	if err := json.Unmarshal([]byte(b.get(views.SnapshotsPath, asJS...).body), &listed); err != nil || len(listed.Items) != 1 ||
		!strings.Contains(listed.Items[0].Error, "Volume") || listed.Items[0].RequestID != "req-77" {
		t.Errorf("a program's list says %+v, %v", listed, err)
	}
	var told operationJSONBody
	if err := json.Unmarshal([]byte(b.get("/activity/"+op.ID, asJS...).body), &told); err != nil {
		t.Fatal(err)
	}
	if told.Error == "" || told.RequestID != "req-77" || len(told.Dependents) != 1 || told.Dependents[0].ID != v.ID {
		t.Errorf("a program is told %+v", told)
	}
	// Nobody else is bothered: the next thing they hear of is the row of what comes next.
	if _, err := b.store.Volumes.EditVolume(t.Context(), storetest.Operator(), models.EditInput{ID: v.ID, Name: "renamed"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: v.ID, Name: "last"}); err != nil {
		t.Fatal(err)
	}
	_, before := theirs.until("list")
	for _, e := range before {
		if e.name == "told" {
			t.Errorf("a viewer is told %s", e.data)
		}
	}
}

type operationJSONBody struct {
	Error      string
	RequestID  string `json:"request_id"`
	Dependents []struct{ ID, Name, Type string }
}

// refuse asks for the deletion of a snapshot that the backend accepts and then
// refuses because of a volume.
func (b *board) refuse(s *models.Snapshot, v *models.Volume) *models.Operation {
	b.t.Helper()
	ctx := b.t.Context()
	if _, err := b.store.Snapshots.DeleteSnapshot(ctx, storetest.Operator(), s.ID, ""); err != nil {
		b.t.Fatal(err)
	}
	op, err := b.store.Queue.Claim(ctx, "test", time.Minute)
	if err != nil || op == nil {
		b.t.Fatal(op, err)
	}
	failure := models.Failure{Text: models.NewText("failure.reported.015"),
		Dependents: []models.Dependent{{Type: models.SubjectVolume, ID: v.ID, Name: v.Name}}}
	err = b.store.Queue.SaveProgress(ctx, op, store.Progress{State: models.Failed, RunAt: b.clock.Now(), Failure: failure, RequestID: "req-77",
		Subject: &store.ObservedState{Status: models.Available, Percent: -1, Failure: failure, RequestID: "req-77"}})
	if err != nil {
		b.t.Fatal(err)
	}
	return op
}

// TestRevertSaysWhyNot: the popup is offered, and where it cannot work it says why.
func TestRevertSaysWhyNot(t *testing.T) {
	b := newBoard(t)
	v := b.volume("data", "1")
	older := b.snapshot(v, "older")
	b.clock.Add(time.Minute)
	newer := b.snapshot(v, "newer")
	a := b.get(snapshotPath(newer, "revert"))
	wantText(t, a, ".popup", "data의 데이터를 이 스냅샷의 시점으로 되돌립니다")
	wantNone(t, b.get(snapshotPath(newer, "")), `a[href$="/revert"][aria-disabled]`)
	a = b.get(snapshotPath(older, "revert"))
	wantText(t, a, ".callout-title", "가장 최근 스냅샷으로만")
	wantText(t, a, ".blockers a", "newer")
	wantText(t, b.get(snapshotPath(older, "")), "#why-revert", "가장 최근 스냅샷으로만")
	a = b.post(snapshotPath(older, "revert"), form(), htmx...)
	wantStatus(t, a, http.StatusConflict)
	wantText(t, a, ".blockers a", "newer")
	b.attached(v)
	wantText(t, b.get(snapshotPath(newer, "revert")), ".callout-title", "IN-USE 상태에서는")
	facts := b.store.Capabilities()
	facts.Revert = false
	b.store.SetCapabilities(facts)
	wantText(t, b.get(snapshotPath(newer, "revert")), ".callout-title", "지원하지 않는")

	// A cloud may keep snapshots whose volume is gone.
	facts.Revert = true
	b.store.SetCapabilities(facts)
	orphan := store.ObservedObject{BackendID: "orphan", Project: models.DefaultProject, Name: "orphan", SizeGiB: 1, Source: "gone", CreatedAt: b.clock.Now(),
		ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}
	if _, err := b.store.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{orphan}, b.clock.Now()); err != nil {
		t.Fatal(err)
	}
	a = b.get(views.SnapshotsPath + "/orphan/revert")
	wantStatus(t, a, http.StatusOK)
	wantText(t, a, ".callout-title", "원본 Volume이 없습니다")
	wantText(t, b.get(views.SnapshotsPath+"/orphan"), "#why-revert", "원본 Volume이 없습니다")
}

func TestAuditIsReadable(t *testing.T) {
	b := newBoard(t)
	admin := b.as(models.Administrator)
	v := b.volume("data", "3")
	if _, err := b.store.Volumes.EditVolume(t.Context(), storetest.Operator(), models.EditInput{ID: v.ID, Name: "renamed"}); err != nil {
		t.Fatal(err)
	}
	a := admin.get("/admin/audit")
	if strings.Contains(a.doc(t).Find(".audit").Text(), "{") {
		t.Errorf("raw JSON in %s", a.body)
	}
	wantText(t, a, ".audit-facts dt", "이름")
	wantText(t, a, ".audit-facts dd", "data → renamed")
	text := a.doc(t).Find(".audit .c-detail dd").Text()
	for _, want := range []string{"3 GiB", "운영자"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	wantText(t, admin.get("/admin/audit", "Accept-Language", "en"), ".audit-facts dt", "Name")
}

// TestAllProjects: a column with the owners, a filter of the URL, and everything
// that follows it.
func TestAllProjects(t *testing.T) {
	c := newConsole(t, "ALL_PROJECTS=true", "BACKEND=openstack")
	b := c.as(models.Operator)
	c.store.SetCapabilities(models.Capabilities{Name: "openstack", Shared: true, FreeBytes: -1, Project: models.Project{ID: ownProject, Name: "lab"},
		Projects: []models.Project{{ID: ownProject, Name: "lab"}, {ID: otherProject, Name: "<b>other</b>"}}})
	now := c.clock.Now()
	for _, project := range []string{ownProject, otherProject} {
		m := store.ObservedObject{BackendID: "v-" + project, Project: project, Name: "data-" + project[:4], SizeGiB: 2, CreatedAt: now,
			ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}
		if _, err := c.store.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{m}, now); err != nil {
			t.Fatal(err)
		}
		m.Source, m.BackendID = m.BackendID, "s-"+project
		if _, err := c.store.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{m}, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range []string{views.VolumesPath, views.SnapshotsPath} {
		all := b.get(list)
		wantText(t, all, "header .project", "모든 프로젝트")
		if n := all.doc(t).Find("tbody tr").Length(); n != 2 {
			t.Errorf("%d rows", n)
		}
		wantText(t, all, "td.c-project", "<b>other</b>")
		wantText(t, all, "th.c-project", "프로젝트")
		wantText(t, all, `select[name=project] option[value="`+ownProject+`"]`, "lab")
		wantText(t, all, ".total", "2")
		one := b.get(list + "?project=" + otherProject)
		if n := one.doc(t).Find("tbody tr").Length(); n != 1 {
			t.Errorf("%d rows of one project", n)
		}
		wantText(t, one, ".chip", "<b>other</b>")
		if one.doc(t).Find(`select[name=project] option[selected][value="`+otherProject+`"]`).Length() != 1 {
			t.Error("the filter does not show what is chosen")
		}
		wantText(t, b.get(list+"?project="+otherProject+"&status=ERROR"), ".empty-title", "조건에 맞는 항목이 없습니다")
		wantText(t, b.get(list+"/count?project="+otherProject, htmx...), "body", "1개")
		var body struct {
			Items []struct {
				ProjectID   string `json:"project_id"`
				ProjectName string `json:"project_name"`
			}
			Total int
		}
		if err := json.Unmarshal([]byte(b.get(list+"?project="+otherProject, asJS...).body), &body); err != nil {
			t.Fatal(err)
		}
		if body.Total != 1 || len(body.Items) != 1 || body.Items[0].ProjectID != otherProject || body.Items[0].ProjectName != "<b>other</b>" {
			t.Errorf("a program is told %+v", body)
		}
		csv := b.get(list + "?format=csv&project=" + otherProject).body
		if strings.Count(csv, "\n") != 2 || !strings.Contains(csv, ",project_name\n") || !strings.Contains(csv, otherProject+",<b>other</b>") {
			t.Errorf("the export is %q", csv)
		}
	}
	wantText(t, b.get(views.VolumesPath+"/v-"+otherProject), ".facts", otherProject)
}

// TestOneProjectHasNoColumn: nobody sees that there could be more.
func TestOneProjectHasNoColumn(t *testing.T) {
	b := newBoard(t)
	b.volume("data", "1")
	wantNone(t, b.as(models.Administrator).get(views.ServersPath), ".c-project")
	a := b.get(views.VolumesPath + "?project=" + otherProject)
	wantNone(t, a, ".c-project, select[name=project]")
	wantText(t, a, ".empty-title", "조건에 맞는 항목이 없습니다") // it is none of ours
	wantNone(t, b.get(views.VolumesPath), ".c-project, select[name=project]")
	wantText(t, b.get(views.VolumesPath), "header .project", "default")
}

// TestARefusedRepairNamesTheRole: the cloud may want more than the console's account
// has.
func TestARefusedRepairNamesTheRole(t *testing.T) {
	b := newBoard(t)
	s := b.errorDeleting(b.volume("data", "1"), "stuck")
	b.fake.ForbidRepair("admin")
	admin := b.as(models.Administrator)
	op := accepted(t, admin.post(snapshotPath(s, "repair"), form("reason", "the array was restarted", "reset_to", "error"), asJS...))
	b.work()
	wantText(t, b.get("/activity/"+op.Operation), ".detail-callout .callout-title", "admin 역할이 필요합니다")
	wantText(t, b.get(views.SnapshotsPath), "#snapshot-"+s.ID+" .st", "ERROR_DELETING")
	wantText(t, b.get(snapshotPath(s, "")), ".line-why", "admin 역할이 필요합니다")
}

// TestALongNameMayStay: only the description is edited, in a field that has one line.
func TestALongNameMayStay(t *testing.T) {
	b := newBoard(t)
	v := b.found(backend.Volume{Name: "two\nlines of a name that is long", SizeGiB: 1})
	a := b.get(volumePath(v, "edit"))
	typed := strings.ReplaceAll(a.doc(t).Find("input[name=name]").AttrOr("value", ""), "\n", "") // as browsers do
	accepted(t, b.post(volumePath(v, "edit"), form("name", typed, "description", "mine"), asJS...))
	b.work()
	if now := b.volumeNow(v.ID); now.Name != v.Name || now.Description != "mine" {
		t.Errorf("the volume is %q, %q", now.Name, now.Description)
	}
}
