//go:build linux

package crashtest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"blockconsole/models/reserve/mounttest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

const mib = int64(1) << 20

// TestFullDisk: servers fill the disk, and then others do. The administrator still gets in,
// reads, edits, deletes and finds everything in the audit; nothing new is begun; a killed
// console starts and serves; and with space again all is as before.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: fills a disk")
	}
	folder, _ := mounttest.Image(t, 1400*mib, "", "mkfs.ext4", "-q", "-m", "0")
	others := mounttest.Fill(t, folder, 300*mib)
	s := newSite(t, []string{"DATA=" + filepath.Join(folder, "data"), "METRICS_ADDR=" + freeAddress(t)}, [2]string{"web-1", "127.0.0.1"})
	first, second, unused := s.newVolume("first"), s.newVolume("second"), s.newVolume("unused")
	s.attach(first, "web-1")
	s.attach(second, "web-1")

	full := time.Now()
	for _, id := range []string{first, second} {
		c, err := s.raw("127.0.0.1", id)
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, mib)
		for i := range block {
			block[i] = byte(i)
		}
		n := int64(0)
		for ; n < 400; n++ {
			if _, err = c.WriteAt(block, n*mib); err != nil {
				break
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("after %d MiB: %v", n, err)
		}
		if id == first {
			full = time.Now()
			if n < 100 {
				t.Errorf("only %d MiB were taken", n)
			}
			if _, err := c.WriteAt(block, 0); err != nil {
				t.Errorf("a server cannot overwrite what it has: %v", err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	failed := func() string {
		var v struct{ Error string }
		s.api.Read(views.VolumesPath+"/"+first, &v)
		return v.Error
	}
	eventually(t, "the row tells", func() bool { return failed() != "" })
	if took := time.Since(full); took > 3*time.Second { // two, and the machine's load
		t.Errorf("the row told after %v: %q", took, failed())
	}
	wantMetric(t, s, `blockconsole_disk_errors_total{cause="no_space",op="write"} 2`)
	wantMetric(t, s, `blockconsole_disk_reserve_whole 1`)
	wantMetric(t, s, `blockconsole_disk_short{cause="no_space"} 1`)

	more := fillMore(t, folder)
	wantMetric(t, s, `blockconsole_disk_reserve_whole 0`)
	s.wantFull(t)
	s.done(views.VolumesPath+"/"+unused+"/edit", "name", "renamed")

	s.Kill()
	s.start()
	s.SignIn()
	s.api = s.Client.JSON()
	s.wantFull(t)
	c, err := s.raw("127.0.0.1", second)
	if err != nil {
		t.Fatal("it is not served after the start:", err)
	}
	if _, err := c.ReadAt(make([]byte, 4096), 0); err != nil {
		t.Error(err)
	}
	s.done(views.VolumesPath+"/"+unused+"/delete", "form_key", "")
	s.done(views.VolumesPath + "/" + first + "/detach")

	more()
	others()
	eventually(t, "space is seen", func() bool { return strings.HasPrefix(s.Client.Get("/readyz").Body, "ready\n") && s.banner() == "" })
	eventually(t, "creating is accepted again", func() bool {
		return s.post(views.VolumesPath, "name", "again", "size_gib", "1").StatusCode == http.StatusAccepted
	})
	s.Stop()
}

// fillMore takes what is left, with the name of another file.
func fillMore(t *testing.T, folder string) (drop func()) {
	sub := filepath.Join(folder, "data", "images")
	return mounttest.Fill(t, sub, 0)
}

func (s *site) banner() string {
	return strings.TrimSpace(s.Client.Get(views.VolumesPath, "Accept-Language", "en").Doc(s.t).Find(".banner").Text())
}

// wantFull checks what works, and what is refused, while there is no space.
func (s *site) wantFull(t *testing.T) {
	t.Helper()
	s.SignIn()
	s.api = s.Client.JSON()
	if text := s.banner(); !strings.Contains(text, "data) is short of space") || !strings.Contains(text, "MiB") && !strings.Contains(text, " B ") {
		t.Errorf("the banner is %q", text)
	}
	if ready := s.Client.Get("/readyz"); ready.StatusCode != http.StatusOK || !strings.Contains(ready.Body, "short of space") {
		t.Errorf("readyz: %d %q", ready.StatusCode, ready.Body)
	}
	refused := s.api.Post(views.VolumesPath, apptest.FormWithKey("name", "refused", "size_gib", "1"))
	problem := apptest.WantProblem(t, refused, http.StatusConflict)
	if !strings.Contains(problem.Message, "MiB") && !strings.Contains(problem.Message, " B ") {
		t.Errorf("creating is refused with %q", problem.Message)
	}
	if page := s.Client.Get("/admin/audit"); page.StatusCode != http.StatusOK || !strings.Contains(page.Body, "unused") {
		t.Errorf("audit: %d", page.StatusCode)
	}
}

func wantMetric(t *testing.T, s *site, line string) {
	t.Helper()
	eventually(t, line, func() bool {
		for _, setting := range s.Settings {
			if address, ok := strings.CutPrefix(setting, "METRICS_ADDR="); ok {
				resp, err := http.Get("http://" + address + "/metrics")
				if err != nil {
					return false
				}
				body := readAll(t, resp)
				return strings.Contains(body, line+"\n")
			}
		}
		return false
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestReadOnlyDisk: the file system refuses all writes from one moment on. Who is signed in
// goes on reading, every click says so, and nothing is acknowledged.
func TestReadOnlyDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: breaks a disk")
	}
	folder, device := mounttest.Image(t, 1400*mib, "errors=remount-ro", "mkfs.ext4", "-q", "-m", "0")
	s := newSite(t, []string{"DATA=" + filepath.Join(folder, "data"), "METRICS_ADDR=" + freeAddress(t)}, [2]string{"web-1", "127.0.0.1"})
	id := s.newVolume("disk")
	s.attach(id, "web-1")
	c, err := s.raw("127.0.0.1", id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteAt([]byte("before"), 0); err != nil {
		t.Fatal(err)
	}
	mounttest.FailReadOnly(t, device)
	if _, err := c.WriteAt([]byte("after"), 4096); !errors.Is(err, syscall.EIO) {
		t.Errorf("the server receives %v", err)
	}
	wantMetric(t, s, `blockconsole_disk_short{cause="read_only"} 1`)
	wantMetric(t, s, `blockconsole_disk_errors_total{cause="read_only",op="write"} 1`)
	eventually(t, "it is not ready", func() bool { return s.Client.Get("/readyz").StatusCode == http.StatusServiceUnavailable })
	if text := s.banner(); !strings.Contains(text, "data) is read-only") {
		t.Errorf("the banner is %q", text)
	}
	for path, form := range map[string][]string{
		views.VolumesPath + "/" + id + "/edit":   {"name", "other"},
		views.VolumesPath + "/" + id + "/detach": {},
		views.ServersPath:                        {"name", "web-2", "address", "127.0.0.2"},
		"/admin/users":                           {"name", "somebody", "password", "correct horse battery", "role", "viewer"},
	} {
		if problem := apptest.WantProblem(t, s.post(path, form...), http.StatusInsufficientStorage); problem.Code != "unsaved" || !strings.Contains(problem.Message, "read-only") {
			t.Errorf("%s says %+v", path, problem)
		}
	}
	a := s.Client.Post(views.VolumesPath+"/"+id+"/edit", apptest.FormWithKey("name", "what-was-typed"), "HX-Request", "true")
	apptest.WantStatus(t, a, http.StatusInsufficientStorage)
	if typed, _ := a.Doc(t).Find("input[name=name]").Attr("value"); typed != "what-was-typed" {
		t.Errorf("the form comes back with %q: %s", typed, a.Body)
	}
	for _, path := range []string{views.VolumesPath, views.VolumesPath + "/" + id, views.SnapshotsPath, "/activity", "/admin/audit", "/help"} {
		apptest.WantStatus(t, s.Client.Get(path), http.StatusOK)
	}
	if _, err := c.ReadAt(make([]byte, 6), 0); err != nil {
		t.Errorf("the server cannot read: %v", err)
	}
	if s.status(id) != "IN-USE" {
		t.Error("a click was acknowledged")
	}
	s.Kill()
}
