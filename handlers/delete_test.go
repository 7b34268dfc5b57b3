package handlers_test

import (
	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestDelete_Several: what can go goes, the others stay and say why.
func TestDelete_Several(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	good, second := c.NewSnapshot(v, "snap-1"), c.NewSnapshot(v, "snap-2")
	bad := c.NewErrorDeleting(v, "snap-3")
	gone := models.NewID()
	query := url.Values{"id": {good.ID, second.ID, bad.ID, gone, good.ID}}
	popup := c.Get(views.SnapshotsPath + "/delete?" + query.Encode())
	apptest.WantStatus(t, popup, http.StatusOK)
	ids := popup.Doc(t).Find("main form[method=post] input[name=id]")
	if ids.Length() != 2 {
		t.Errorf("%d would go", ids.Length())
	}
	apptest.WantText(t, popup, "main [role=alert]", "snap-3")
	apptest.WantText(t, popup, "main [role=alert]", "관리자에게 문의하세요")
	apptest.WantText(t, popup, "main [role=alert]", gone)
	query.Set("form_key", "once")
	a := c.Post(views.SnapshotsPath+"/delete", query, c.FromList(views.SnapshotsPath)...)
	apptest.WantStatus(t, a, http.StatusOK)
	apptest.WantText(t, a, "hx-partial", "2")
	if a.Doc(t).Find(`hx-partial a[href="/activity"]`).Length() != 1 {
		t.Error("the message does not lead to all operations")
	}
	unchanged := c.Unchanged()
	apptest.WantStatus(t, c.Post(views.SnapshotsPath+"/delete", query, c.FromList(views.SnapshotsPath)...), http.StatusOK)
	told := c.Post(views.SnapshotsPath+"/delete", query, apptest.AsJSON...) // the same form: a program hears of the same operations
	last := apptest.WantAccepted(t, told)
	var all struct {
		Operations []apptest.Accepted
		Refused    []struct{ ID, Reason string }
	}
	if err := json.Unmarshal([]byte(told.Body), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Operations) != 2 || all.Operations[0].ID != good.ID || all.Operations[1] != last || all.Operations[0].Operation == last.Operation {
		t.Errorf("operations %+v, the last %+v", all.Operations, last)
	}
	if len(all.Refused) != 2 || all.Refused[0].ID != bad.ID || !strings.Contains(all.Refused[0].Reason, "관리자에게 문의하세요") || all.Refused[1].ID != gone || all.Refused[1].Reason == "" {
		t.Errorf("refused %+v", all.Refused)
	}
	unchanged(t)
	c.Work()
	for id, status := range map[string]int{good.ID: http.StatusNotFound, second.ID: http.StatusNotFound, bad.ID: http.StatusOK} {
		apptest.WantStatus(t, c.Get(views.SnapshotsPath+"/"+id), status)
	}
	none := c.Post(views.SnapshotsPath+"/delete", url.Values{"id": {bad.ID, gone}})
	apptest.WantStatus(t, none, http.StatusConflict)
	apptest.WantText(t, none, "main [role=alert]", "snap-3")
	apptest.WantProblem(t, c.Post(views.SnapshotsPath+"/delete", url.Values{"id": {bad.ID, gone}}, apptest.AsJSON...), http.StatusConflict)
	foreign := c.Post(views.SnapshotsPath+"/delete", url.Values{"id": {v.ID}}, apptest.AsJSON...)
	apptest.WantStatus(t, foreign, http.StatusConflict)
	if now := c.Volume(v.ID); now.Status != models.Available {
		t.Errorf("a volume among the snapshots is %s", now.Status)
	}
}
