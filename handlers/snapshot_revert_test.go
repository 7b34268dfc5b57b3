package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"net/http"
	"testing"
	"time"
)

// TestRevert_Refused: the popup is offered, and where it cannot work it says why.
func TestRevert_Refused(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("data", 1)
	older := c.NewSnapshot(v, "older")
	c.Clock.Add(time.Minute)
	newer := c.NewSnapshot(v, "newer")
	a := c.Get(apptest.SnapshotPath(newer.ID, "revert"))
	apptest.WantText(t, a, ".popup", "data의 데이터를 이 스냅샷의 시점으로 되돌립니다")
	apptest.WantNone(t, c.Get(apptest.SnapshotPath(newer.ID)), `a[href$="/revert"][aria-disabled]`)
	a = c.Get(apptest.SnapshotPath(older.ID, "revert"))
	apptest.WantText(t, a, ".callout-title", "가장 최근 스냅샷으로만")
	apptest.WantText(t, a, ".blockers a", "newer")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(older.ID)), "#why-revert", "가장 최근 스냅샷으로만")
	a = c.Post(apptest.SnapshotPath(older.ID, "revert"), apptest.Form(), apptest.HTMX...)
	apptest.WantStatus(t, a, http.StatusConflict)
	apptest.WantText(t, a, ".blockers a", "newer")
	c.Attach(v)
	apptest.WantText(t, c.Get(apptest.SnapshotPath(newer.ID, "revert")), ".callout-title", "IN-USE 상태에서는")
	facts := c.Store.Capabilities()
	facts.Revert = false
	c.Store.SetCapabilities(facts)
	apptest.WantText(t, c.Get(apptest.SnapshotPath(newer.ID, "revert")), ".callout-title", "지원하지 않는")

	// A cloud may keep snapshots whose volume is gone.
	facts.Revert = true
	c.Store.SetCapabilities(facts)
	orphan := store.ObservedObject{BackendID: "orphan", Project: models.DefaultProject, Name: "orphan", SizeGiB: 1, Source: "gone", CreatedAt: c.Clock.Now(),
		ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}
	if _, err := c.Store.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{orphan}, c.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	a = c.Get(views.SnapshotsPath + "/orphan/revert")
	apptest.WantStatus(t, a, http.StatusOK)
	apptest.WantText(t, a, ".callout-title", "원본 Volume이 없습니다")
	apptest.WantText(t, c.Get(views.SnapshotsPath+"/orphan"), "#why-revert", "원본 Volume이 없습니다")
}
