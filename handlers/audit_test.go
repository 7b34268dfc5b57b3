package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
	"strings"
	"testing"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin := c.As(models.Administrator)
	v := c.NewVolume("data", 3)
	apptest.WantStatus(t, admin.Post(apptest.VolumePath(v.ID, "attach"), apptest.Form("server_id", "server-1")), 303)
	if _, err := c.Store.Volumes.EditVolume(t.Context(), storetest.Operator(), models.EditInput{ID: v.ID, Name: "renamed"}); err != nil {
		t.Fatal(err)
	}
	a := admin.Get("/admin/audit")
	if strings.Contains(a.Doc(t).Find(".audit").Text(), "{") {
		t.Errorf("raw JSON in %s", a.Body)
	}
	apptest.WantText(t, a, ".audit-facts dt", "이름")
	apptest.WantText(t, a, ".audit-facts dd", "data → renamed")
	text := a.Doc(t).Find(".audit .c-detail dd").Text()
	for _, want := range []string{"3 GiB", "운영자", "web-1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	apptest.WantText(t, admin.Get("/admin/audit", "Accept-Language", "en"), ".audit-facts dt", "Name")
}
