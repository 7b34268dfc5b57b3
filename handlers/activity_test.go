package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestActivity_Retry: what failed can be tried again, once it is worth it.
func TestActivity_Retry(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.Fake.SetQuota("volumes", 0)
	m := apptest.WantAccepted(t, c.Post(views.VolumesPath, apptest.Form("name", "vol-1", "size_gib", "1"), apptest.AsJSON...))
	c.Work()
	apptest.WantText(t, c.Get(views.VolumesPath), "#volume-"+m.ID, "ERROR")
	apptest.WantText(t, c.Get(m.URL), "main", "실패")
	c.Fake.SetQuota("volumes", -1)
	again := apptest.WantAccepted(t, c.Post(m.URL+"/retry", nil, apptest.AsJSON...))
	if again != m {
		t.Errorf("again it is %+v", again)
	}
	c.Work()
	apptest.WantText(t, c.Get(views.VolumesPath), "#volume-"+m.ID, "AVAILABLE")
	apptest.WantProblem(t, c.Post(m.URL+"/retry", nil, apptest.AsJSON...), http.StatusConflict)
}

// TestActivity_FailureExplained: in the row, on the pages, and to whoever asked.
func TestActivity_FailureExplained(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	v := c.NewVolume("data", 1)
	s := c.NewSnapshot(v, "shot")
	mine := c.open(c.Client, c.eventsOf(c.Client, views.SnapshotsPath))
	theirs := c.open(c.As(models.Viewer), c.eventsOf(c.Client, views.SnapshotsPath))
	op := c.refuse(s, v)

	e, _ := mine.until("told")
	for _, part := range []string{`hx-target="#messages"`, "data-sticky", "Block Snapshot 삭제 실패: shot", "이 스냅샷으로 만든 Volume", "req-77", "/activity/" + op.ID} {
		if !strings.Contains(e.data, part) {
			t.Errorf("%q is not in %s", part, e.data)
		}
	}
	row := c.Get(views.SnapshotsPath)
	at := "#snapshot-" + s.ID + " .trouble "
	apptest.WantText(t, row, at+".why", "이 스냅샷으로 만든 Volume")
	apptest.WantText(t, row, at+`a[href="`+apptest.VolumePath(v.ID)+`"]`, "data")
	if row.Doc(t).Find(at+`[data-copy="req-77"][aria-label]`).Length() != 1 {
		t.Errorf("no request id to copy in %s", row.Body)
	}
	page := c.Get(apptest.SnapshotPath(s.ID))
	apptest.WantText(t, page, ".detail-callout", "이 스냅샷으로 만든 Volume")
	apptest.WantText(t, page, ".detail-callout .blockers a", "data")
	apptest.WantText(t, page, ".detail-callout .alert-id code", "req-77")
	apptest.WantText(t, c.Get("/activity"), "#operation-"+op.ID+" .trouble a", "data")
	timeline := c.Get("/activity/" + op.ID)
	apptest.WantText(t, timeline, ".detail-callout .callout-title", "이 스냅샷으로 만든 Volume")
	apptest.WantText(t, timeline, ".detail-callout .blockers a", "data")
	var listed struct{ Items []operationJSONBody }
	if err := json.Unmarshal([]byte(c.Get(views.SnapshotsPath, apptest.AsJSON...).Body), &listed); err != nil || len(listed.Items) != 1 ||
		!strings.Contains(listed.Items[0].Error, "Volume") || listed.Items[0].RequestID != "req-77" {
		t.Errorf("a program's list says %+v, %v", listed, err)
	}
	var told operationJSONBody
	if err := json.Unmarshal([]byte(c.Get("/activity/"+op.ID, apptest.AsJSON...).Body), &told); err != nil {
		t.Fatal(err)
	}
	if told.Error == "" || told.RequestID != "req-77" || len(told.Dependents) != 1 || told.Dependents[0].ID != v.ID {
		t.Errorf("a program is told %+v", told)
	}
	// Nobody else is bothered: the next thing they hear of is the row of what comes next.
	if _, err := c.Store.Volumes.EditVolume(t.Context(), storetest.Operator(), models.EditInput{ID: v.ID, Name: "renamed"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: v.ID, Name: "last"}); err != nil {
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
func (c *console) refuse(s *models.Snapshot, v *models.Volume) *models.Operation {
	c.t.Helper()
	ctx := c.t.Context()
	if _, err := c.Store.Snapshots.DeleteSnapshot(ctx, storetest.Operator(), s.ID, ""); err != nil {
		c.t.Fatal(err)
	}
	op, err := c.Store.Queue.Claim(ctx, "test", time.Minute)
	if err != nil || op == nil {
		c.t.Fatal(op, err)
	}
	failure := models.Failure{Text: models.NewText("failure.reported.015"),
		Dependents: []models.Dependent{{Type: models.SubjectVolume, ID: v.ID, Name: v.Name}}}
	err = c.Store.Queue.SaveProgress(ctx, op, store.Progress{State: models.Failed, RunAt: c.Clock.Now(), Failure: failure, RequestID: "req-77",
		Subject: &store.ObservedState{Status: models.Available, Percent: -1, Failure: failure, RequestID: "req-77"}})
	if err != nil {
		c.t.Fatal(err)
	}
	return op
}
