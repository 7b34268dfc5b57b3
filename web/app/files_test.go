package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// newOnFiles runs a console whose storage are files, and returns its data folder.
func newOnFiles(t *testing.T) (c *apptest.Console, dir string) {
	t.Helper()
	c = apptest.Open(t, apptest.Options{Local: true, WallClock: true, Settings: []string{"NBD_ADDR=127.0.0.1:0"}})
	c.Serve()
	apptest.Eventually(t, 5*time.Second, "the storage is known", func() bool { return c.Store.Capabilities().DataDir != "" })
	return c, c.Store.Capabilities().DataDir
}

// TestFiles_Images: an image is offered within two seconds; what is no disk is refused
// unless its bytes are wanted, or is shown as unusable.
func TestFiles_Images(t *testing.T) {
	c, dir := newOnFiles(t)
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, "images", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("plain.img", "bytes of a disk")
	form := func(headers ...string) apptest.Answer { return c.Get(views.VolumesPath+"/new", headers...) }
	apptest.Eventually(t, 2*time.Second, "a dropped image is offered", func() bool { return strings.Contains(form().Body, "plain.img") })
	apptest.WantNone(t, form(), "[name=raw]")
	put("disk.img", "QFI\xfb\x00\x00\x00\x03")
	put("two\nlines.img", "bytes")
	put("packed.vmdk", "KDMV")
	put("install.iso", strings.Repeat("\x00", 32769)+"CD001")
	apptest.Eventually(t, 3*time.Second, "the others are listed", func() bool { return strings.Contains(form().Body, "packed.vmdk") })
	for _, text := range []string{"install.iso (32 KiB, ISO 9660)", "disk.img (8 B, QCOW2)"} {
		apptest.WantText(t, form(), "select[name=image]", text)
	}
	apptest.WantText(t, form(), "select[name=image]", `"two\nlines.img" — 파일 이름이 UTF-8이 아니거나`)
	apptest.WantText(t, form("Accept-Language", "en"), "select[name=image]", "packed.vmdk — It is VMDK. Convert it to raw")
	if n := form().Doc(t).Find("select[name=image] option[disabled]").Length(); n != 2 {
		t.Errorf("%d options cannot be chosen, want 2", n)
	}
	apptest.WantText(t, form(), "#popup-form", "ISO 이미지는 변환하지 않고 그대로 씁니다")
	refused := c.Post(views.VolumesPath, apptest.FormWithKey("name", "from-qcow2", "size_gib", "1", "image", "disk.img"))
	apptest.WantStatus(t, refused, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, refused, "image", "QCOW2 형식")
	apptest.WantText(t, refused, "label.tick:has([name=raw])", "그대로 원시 바이트로")
	for _, unusable := range []string{"packed.vmdk", `"two\nlines.img"`} {
		a := c.Post(views.VolumesPath, apptest.FormWithKey("name", "unusable", "size_gib", "1", "image", unusable, "raw", "1"))
		apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	}
	for name, pairs := range map[string][]string{
		"raw-1": {"image", "disk.img", "raw", "1"}, "iso-1": {"image", "install.iso"}, "plain-1": {"image", "plain.img"},
	} {
		id := c.Succeed(20*time.Second, views.VolumesPath, append(pairs, "name", name, "size_gib", "1")...)
		if row := c.Volume(id); row.Status != models.Available || row.ImageID != pairs[1] {
			t.Errorf("%s: %+v", name, row)
		}
	}
}

// TestFiles_Damage: what somebody does to files by hand is on the row within seconds,
// with the file's path, and an administrator gets out of it.
func TestFiles_Damage(t *testing.T) {
	c, dir := newOnFiles(t)
	admin := c.As(models.Administrator)
	server := admin.Post("/admin/servers", apptest.FormWithKey("name", "web-1", "address", "127.0.0.1"))
	apptest.WantStatus(t, server, http.StatusSeeOther)
	servers, err := c.Store.Servers.ServersOfProject(t.Context(), models.Actor{Role: models.Operator, Project: models.DefaultProject}, "", 1)
	if err != nil || len(servers) != 1 {
		t.Fatal(servers, err)
	}
	id := c.Succeed(20*time.Second, views.VolumesPath, "name", "data-1", "size_gib", "1", "server_id", servers[0].ID)
	data := filepath.Join(dir, "volumes", id, "data.raw")
	if err := os.Rename(data, dir+"/away"); err != nil {
		t.Fatal(err)
	}
	apptest.Eventually(t, 5*time.Second, "the row is in ERROR", func() bool { return c.Volume(id).Status == models.ErrorStatus })
	page := c.Get(apptest.VolumePath(id))
	for _, text := range []string{data, "FLUSH 없이", "/proc/"} {
		apptest.WantText(t, page, "main", text)
	}
	apptest.WantText(t, c.Get(apptest.VolumePath(id), "Accept-Language", "en"), "main", "The data file went missing while a server used it ("+data)
	c.Succeed(20*time.Second, apptest.VolumePath(id, "detach"), "server_id", servers[0].ID)
	if row := c.Volume(id); row.Status != models.ErrorStatus || row.AttachmentCount != 0 || !row.Failure.IsDamage() {
		t.Fatalf("detached: %s %+v", row.Status, row.Failure)
	}
	if err := os.Rename(dir+"/away", data); err != nil {
		t.Fatal(err)
	}
	admin.Succeed(20*time.Second, apptest.VolumePath(id, "repair"), "reason", "the file is back", "reset_to", "available")
	if row := c.Volume(id); row.Status != models.Available || !row.Failure.None() {
		t.Fatalf("repaired: %s %+v", row.Status, row.Failure)
	}
	if err := os.RemoveAll(filepath.Dir(data)); err != nil {
		t.Fatal(err)
	}
	attach := c.Ask(apptest.VolumePath(id, "attach"), "server_id", servers[0].ID)
	if op := c.Ended(attach.Operation, 20*time.Second); op.State != "FAILED" || c.Volume(id).Status != models.ErrorStatus {
		t.Errorf("attached without data: %+v, %s", op, c.Volume(id).Status)
	}
	c.Succeed(20*time.Second, apptest.VolumePath(id, "delete"))
}

// TestFiles_LocksOutliveTheDatabase: a database that is rebuilt from the folders has the
// locks again, and refuses to delete.
func TestFiles_LocksOutliveTheDatabase(t *testing.T) {
	dir := t.TempDir()
	open := func(t *testing.T) *apptest.Console {
		c := apptest.Open(t, apptest.Options{Local: true, WallClock: true, Settings: []string{"DATA=" + dir}})
		c.Serve()
		apptest.Eventually(t, 5*time.Second, "the storage is known", func() bool { return c.Store.Capabilities().DataDir != "" })
		return c
	}
	until := time.Now().AddDate(0, 0, 3).Format(time.DateOnly)
	var volume, snapshot string
	var before [2]models.Lock
	t.Run("locked", func(t *testing.T) {
		c := open(t)
		volume = apptest.WantAccepted(t, c.Post(views.VolumesPath, apptest.Form("name", "vol-1", "size_gib", "1"), apptest.AsJSON...)).ID
		available := func() bool { return c.Volume(volume).Status == models.Available }
		apptest.Eventually(t, 10*time.Second, "the volume is there", available)
		snapshot = apptest.WantAccepted(t, c.Post(views.SnapshotsPath, apptest.Form("volume_id", volume, "name", "snap-1", "lock_until", until), apptest.AsJSON...)).ID
		apptest.WantAccepted(t, c.Post(views.VolumesPath+"/"+volume+"/lock", apptest.Form("until", until, "reason", "감사"), apptest.AsJSON...))
		apptest.Eventually(t, 10*time.Second, "all is carried out", func() bool {
			n, err := c.Store.Queue.CountRunning(t.Context(), models.DefaultProject)
			return err == nil && n == 0
		})
		before = [2]models.Lock{c.Volume(volume).Lock, c.Snapshot(snapshot).Lock}
	})
	t.Run("rebuilt", func(t *testing.T) {
		c := open(t)
		apptest.Eventually(t, 10*time.Second, "the folders are read", func() bool {
			return c.Get(views.SnapshotsPath+"/"+snapshot).StatusCode == http.StatusOK && c.Get(views.VolumesPath+"/"+volume).StatusCode == http.StatusOK
		})
		if after := [2]models.Lock{c.Volume(volume).Lock, c.Snapshot(snapshot).Lock}; after != before || !before[0].Locked() || !before[1].Locked() {
			t.Errorf("%+v, before %+v", after, before)
		}
		apptest.WantText(t, c.Post(views.SnapshotsPath+"/"+snapshot+"/delete", nil), "main [role=alert]", until)
	})
}
