package handlers_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// readBy makes a snapshot that servers read.
func (c *console) readBy(name string, servers ...*models.Server) *models.Snapshot {
	c.t.Helper()
	s := c.NewSnapshot(c.NewVolume("of-"+name, 1), name)
	for _, server := range servers {
		if _, err := c.Store.Snapshots.AttachSnapshot(c.t.Context(), storetest.Operator(), s.ID, server.ID, ""); err != nil {
			c.t.Fatal(err)
		}
	}
	c.Work()
	return c.Snapshot(s.ID)
}

const readOnlyCommands = `sudo modprobe nbd
sudo nbd-client 192.0.2.7 10809 /dev/nbd0 -name ID -readonly|sudo mount -o ro,noload /dev/nbd0 /mnt|sudo mount -o ro,norecovery,nouuid /dev/nbd0 /mnt|` +
	`qemu-system-x86_64 -drive file=nbd://192.0.2.7:10809/ID,format=raw,if=virtio,readonly=on|<disk type='network' device='disk'>
  <driver name='qemu' type='raw'/>
  <source protocol='nbd' name='ID'>
    <host name='192.0.2.7' port='10809'/>
  </source>
  <target dev='vdb' bus='virtio'/>
  <readonly/>
</disk>`

// TestAttachSnapshot_Popup: the toolbar's popup without scripts, what is wrong, and
// what the page, the list and the JSON say after it.
func TestAttachSnapshot_Popup(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd", "NBD_ADDR=192.0.2.7:10809")
	web, other := c.server("web-1", "10.0.0.5"), c.server("web-2", "10.0.0.6")
	s := c.NewSnapshot(c.NewVolume("data-1", 1), "snap-1")
	apptest.WantText(t, c.Get(views.SnapshotsPath), ".toolbar [data-action=attach]", "연결 (읽기 전용)")
	popup := c.Get(views.SnapshotsPath + "/attach?id=" + s.ID)
	apptest.WantText(t, popup, "#popup-form .hint", "읽기만 할 수 있고")
	apptest.WantText(t, popup, "#popup-form select[name=server_id]", "web-2")
	apptest.WantText(t, c.Get(views.SnapshotsPath+"/attach"), "main", "하나")
	a := c.Post(apptest.SnapshotPath(s.ID, "attach"), apptest.Form("server_id", ""))
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, a, "server_id", "서버")
	form := apptest.Form("server_id", web.ID, "form_key", "the same form")
	apptest.WantStatus(t, c.Post(apptest.SnapshotPath(s.ID, "attach"), form), http.StatusSeeOther)
	apptest.WantStatus(t, c.Post(apptest.SnapshotPath(s.ID, "attach"), form), http.StatusSeeOther) // a double click
	c.Work()
	apptest.WantFieldError(t, c.Post(apptest.SnapshotPath(s.ID, "attach"), apptest.Form("server_id", web.ID)), "server_id", "이미")
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "attach"), apptest.Form("server_id", other.ID), apptest.AsJSON...))
	c.Work()
	if now := c.Snapshot(s.ID); now.Status != models.Available || now.AttachmentCount != 2 {
		t.Fatalf("%+v", now)
	}
	apptest.WantText(t, c.Get(views.SnapshotsPath), "tr#snapshot-"+s.ID+" .note", "읽기 전용: web-1, web-2")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID, "attach")), "#popup-form", "모든 서버에 이미")
	show := c.Get(apptest.SnapshotPath(s.ID))
	apptest.WantText(t, show, "main", "저널을 재생하지 않습니다")
	commands := strings.ReplaceAll(readOnlyCommands, "ID", s.ID)
	var got []string
	for _, code := range show.Doc(t).Find(".command pre code").EachIter() {
		got = append(got, code.Text())
	}
	if strings.Join(got, "|") != commands {
		t.Errorf("the commands are\n%s", strings.Join(got, "|"))
	}
	var item struct {
		Status      string
		Attachments []struct {
			ServerID   string `json:"server_id"`
			ServerName string `json:"server_name"`
		}
		Export struct{ URI string }
	}
	if err := json.Unmarshal([]byte(c.Get(apptest.SnapshotPath(s.ID), apptest.AsJSON...).Body), &item); err != nil ||
		item.Status != "AVAILABLE" || len(item.Attachments) != 2 || item.Attachments[0].ServerName != "web-1" || item.Export.URI != "nbd://192.0.2.7:10809/"+s.ID {
		t.Errorf("%+v %v", item, err)
	}
	records := c.csv(t, views.SnapshotsPath)
	if column := slices.Index(records[0], "servers"); column < 0 || records[1][column] != "web-1; web-2" {
		t.Error(records)
	}
	filtered := c.Get(views.SnapshotsPath + "?server=" + web.ID)
	apptest.WantText(t, filtered, ".chips", "web-1")
	apptest.WantText(t, filtered, "tr#snapshot-"+s.ID, "snap-1")
}

// TestAttachSnapshot_Kept: nobody deletes an attached snapshot or its server, and both
// say who is in the way.
func TestAttachSnapshot_Kept(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	web := c.server("web-1", "10.0.0.5")
	s := c.readBy("snap-1", web)
	apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID, "delete")), "main", "web-1")
	a := c.Post(apptest.SnapshotPath(s.ID, "delete"), apptest.Form(), apptest.AsJSON...)
	apptest.WantProblem(t, a, http.StatusConflict)
	admin := c.As(models.Administrator)
	servers := admin.Get(views.ServersPath)
	apptest.WantText(t, servers, "tr#server-"+web.ID+" .c-volumes", "스냅샷 1")
	apptest.WantText(t, admin.Get(views.ServersPath+"/"+web.ID+"/delete"), "main", "snap-1")
	apptest.WantStatus(t, admin.Post(views.ServersPath+"/"+web.ID+"/delete", apptest.Form()), http.StatusConflict)
	var one struct{ Volumes, Snapshots int }
	if err := json.Unmarshal([]byte(admin.Get(views.ServersPath+"/"+web.ID, apptest.AsJSON...).Body), &one); err != nil || one.Volumes != 0 || one.Snapshots != 1 {
		t.Errorf("%+v %v", one, err)
	}
	c.Fake.Connect(s.ID, web.ID, "10.0.0.5:43210")
	c.lookWho()
	apptest.WantText(t, admin.Get(views.ServersPath+"/"+web.ID), ".blockers a[href='"+apptest.SnapshotPath(s.ID)+"']", "snap-1")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID)), ".clients", "10.0.0.5:43210")
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "restore"), apptest.Form("name", "restored-1"), apptest.AsJSON...))
	c.Work()
}

// TestDetachSnapshot_ClientConnected: it waits for the clients of one server, says so,
// and can be forced.
func TestDetachSnapshot_ClientConnected(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	web, other := c.server("web-1", "10.0.0.5"), c.server("web-2", "10.0.0.6")
	s := c.readBy("snap-1", web, other)
	c.Fake.Connect(s.ID, web.ID, "10.0.0.5:43210")
	c.lookWho()
	popup := c.Get(apptest.SnapshotPath(s.ID, "detach"))
	apptest.WantText(t, popup, "#popup-form .blockers", "web-1 10.0.0.5:43210")
	apptest.WantFieldError(t, c.Post(apptest.SnapshotPath(s.ID, "detach"), apptest.Form()), "server_id", "연결되어 있지 않습니다")
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "detach"), apptest.Form("server_id", web.ID), apptest.AsJSON...))
	for range 3 {
		if _, err := c.Worker.RunDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Clock.Add(time.Second)
	}
	apptest.WantText(t, c.Get(views.SnapshotsPath), "tr#snapshot-"+s.ID+" .note", "10.0.0.5:43210")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID)), "#attached-"+web.ID, "연결 해제 대기 중")
	apptest.WantFieldError(t, c.Post(apptest.SnapshotPath(s.ID, "detach"), apptest.Form("server_id", web.ID)), "force", "기다리지 않으려면")
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "detach"), apptest.Form("server_id", web.ID, "force", "1"), apptest.AsJSON...))
	c.Work()
	if now := c.Snapshot(s.ID); now.Status != models.Available || now.AttachmentCount != 1 {
		t.Errorf("%+v", now)
	}
	apptest.WantStatus(t, c.Post(apptest.SnapshotPath(s.ID, "detach"), apptest.Form()), http.StatusSeeOther) // the only one is left
	c.Work()
	if now := c.Snapshot(s.ID); now.AttachmentCount != 0 {
		t.Errorf("%+v", now)
	}
}

// TestAttachSnapshot_NotOffered: a cloud attaches no snapshots, and a viewer attaches
// nothing.
func TestAttachSnapshot_NotOffered(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	s := c.NewSnapshot(c.NewVolume("data-1", 1), "snap-1")
	for _, path := range []string{views.SnapshotsPath, apptest.SnapshotPath(s.ID)} {
		apptest.WantNone(t, c.Get(path), "[data-action=attach], [data-action=detach], a[href$='/attach'], a[href$='/detach']")
	}
	apptest.WantNone(t, c.Get("/help"), "#read")
	for _, action := range []string{"attach", "detach"} {
		apptest.WantProblem(t, c.Post(apptest.SnapshotPath(s.ID, action), apptest.Form("server_id", "server-1"), apptest.AsJSON...), http.StatusConflict)
		apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID, action)), "main [role=alert], main .callout", "지원하지")
	}
	served := newExportConsole(t, "nbd")
	read := served.readBy("snap-2", served.server("web-1", "10.0.0.5"))
	for _, action := range []string{"attach", "detach"} {
		apptest.WantStatus(t, served.As(models.Viewer).Post(apptest.SnapshotPath(read.ID, action), apptest.Form("server_id", "x")), http.StatusForbidden)
	}
	if names := read.ServerNames(); !slices.Equal(names, []string{"web-1"}) {
		t.Error(names)
	}
}
