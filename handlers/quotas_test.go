package handlers_test

import (
	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"net/http"
	"strings"
	"testing"
)

// limited gives the project of the board limits, as a cloud tells them.
func (c *console) limited(quotas ...models.Quota) {
	facts := c.Store.Capabilities()
	facts.Types, facts.Quotas = []string{"ssd", "__DEFAULT__", "hdd"}, quotas
	c.Store.SetCapabilities(facts)
}

func someQuotas() []models.Quota {
	return []models.Quota{
		{What: "volumes", Used: 3, Limit: 10}, {What: "snapshots", Used: 9, Limit: 10}, {What: "gigabytes", Used: 60, Limit: 100},
		{What: "gigabytes_ssd", Used: 10, Limit: 20}, {What: "volumes_hdd", Used: 0, Limit: -1},
		{What: "per_volume_gigabytes", Used: 0, Limit: 500}, {What: "backups", Used: 1, Limit: 1},
	}
}

func TestQuotas_InPopups(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("data", 30)
	c.limited(someQuotas()...)
	a := c.Get(views.VolumesPath + "/new")
	if n := a.Doc(t).Find(".quota").Length(); n != 3 {
		t.Fatalf("%d limits, want volumes, gigabytes and those of ssd", n)
	}
	if n := a.Doc(t).Find("select[name=volume_type] option").Length(); n != 3 {
		t.Errorf("%d types are offered, want the default, ssd and hdd", n)
	}
	apptest.WantText(t, a, ".quota[data-per=one] .quota-figures", "사용 3 + 이번 1 / 한도 10")
	apptest.WantText(t, a, ".quota[data-per=gib] .quota-figures", "사용 60 + 이번 10 / 한도 100")
	apptest.WantText(t, a, ".quota[data-for=ssd][hidden] .quota-name", "용량(GiB) (ssd)")
	meter := a.Doc(t).Find(".quota[data-per=gib] [role=meter]").First()
	if meter.AttrOr("aria-valuenow", "") != "70" || meter.AttrOr("aria-valuemax", "") != "100" || meter.AttrOr("aria-label", "") == "" {
		t.Errorf("the meter says %v", meter.Nodes[0].Attr)
	}
	apptest.WantText(t, c.Get(views.VolumesPath+"/new", "Accept-Language", "en"), ".quota[data-per=gib] .quota-figures", "60 used + 10 now / 100")

	// A snapshot counts with the whole size of its volume.
	a = c.Get(apptest.VolumePath(v.ID, "snapshots/new"))
	apptest.WantText(t, a, ".quota[data-per=one] .quota-figures", "사용 9 + 이번 1 / 한도 10")
	apptest.WantText(t, a, ".quota[data-per=gib] .quota-figures", "사용 60 + 이번 30 / 한도 100")
	apptest.WantText(t, a, ".quotas .hint", "전체 크기")
	apptest.WantText(t, c.Get(views.SnapshotsPath+"/new"), ".quota[data-per=gib] .quota-figures", "이번 — /")
	if c.Get(views.SnapshotsPath+"/new").Doc(t).Find(`input[name=volume_id][data-gib="30"]`).Length() != 1 {
		t.Error("a choice does not tell its size")
	}

	a = c.Get(apptest.VolumePath(v.ID, "extend"))
	apptest.WantText(t, a, ".quota[data-base='30'] .quota-figures", "이번 1 /")
	apptest.WantNone(t, a, ".quota[data-per=one]")

	c.limited()
	for _, path := range []string{views.VolumesPath + "/new", apptest.VolumePath(v.ID, "snapshots/new"), apptest.VolumePath(v.ID, "extend")} {
		apptest.WantNone(t, c.Get(path), ".quotas")
	}
}

func TestQuotas_Exceeded(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("data", 30)
	c.limited(someQuotas()...)
	unchanged := c.Unchanged()

	a := c.Post(views.VolumesPath, apptest.Form("name", "too-large", "size_gib", "41"), apptest.HTMX...)
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantText(t, a, "#e-size_gib", "한도 100, 사용 중 60, 요청 41")
	apptest.WantText(t, a, ".quota-over .quota-figures", "한도 초과")
	a = c.Post(views.VolumesPath, apptest.Form("name", "too-large", "size_gib", "11", "volume_type", "ssd"), apptest.HTMX...)
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantText(t, a, "#e-size_gib", "용량(GiB) (ssd) 한도를 넘습니다. 한도 20, 사용 중 10, 요청 11")
	if a.Doc(t).Find(".quota[data-for=ssd]:not([hidden])").Length() != 1 {
		t.Error("the limit of the chosen type is not shown")
	}
	a = c.Post(apptest.VolumePath(v.ID, "extend"), apptest.Form("size_gib", "71"), apptest.HTMX...)
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantText(t, a, "#e-size_gib", "요청 41")

	full := someQuotas()
	full[0].Used, full[1].Used = 10, 10
	c.limited(full...)
	a = c.Post(views.VolumesPath, apptest.Form("name", "one-more", "size_gib", "1"), apptest.HTMX...)
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantText(t, a, "#e-quota", "Volume 수 한도를 넘습니다. 한도 10, 사용 중 10, 요청 1.")
	a = c.Post(views.SnapshotsPath, apptest.Form("volume_id", v.ID, "name", "one-more"), apptest.HTMX...)
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantText(t, a, "#e-quota", "Block Snapshot 수 한도를 넘습니다")
	body := apptest.WantProblem(t, c.Post(views.SnapshotsPath, apptest.Form("volume_id", v.ID, "name", "one-more"), apptest.AsJSON...), http.StatusUnprocessableEntity)
	if !strings.Contains(body.Fields["quota"], "10") {
		t.Errorf("a program is told %+v", body)
	}
	unchanged(t)
	c.limited(someQuotas()...)
	apptest.WantAccepted(t, c.Post(views.VolumesPath, apptest.Form("name", "fits", "size_gib", "40"), apptest.AsJSON...))
	apptest.WantAccepted(t, c.Post(views.SnapshotsPath, apptest.Form("volume_id", v.ID, "name", "fits"), apptest.AsJSON...))
}
