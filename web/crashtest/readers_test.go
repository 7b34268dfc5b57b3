package crashtest

import (
	"bytes"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"blockconsole/models/backend/backendtest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// readers are the names of the servers that a snapshot is attached to, which must be
// AVAILABLE.
func (s *site) readers(snapshot string) string {
	s.t.Helper()
	var item struct {
		Status      string
		Attachments []struct {
			ServerName string `json:"server_name"`
		}
	}
	s.api.Read(views.SnapshotsPath+"/"+snapshot, &item)
	if item.Status != "AVAILABLE" {
		s.t.Fatalf("the snapshot is %s", item.Status)
	}
	var names []string
	for _, a := range item.Attachments {
		names = append(names, a.ServerName)
	}
	return strings.Join(names, " ")
}

// TestNBDReaders reads a snapshot in place with the common clients, while the program is
// killed again and again: what is attached stays so, what was leaving leaves, and
// nobody writes.
func TestNBDReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: runs the program and clients of it")
	}
	needTools(t, "nbdinfo", "nbdcopy", "qemu-img", "qemu-io", "mkfs.ext4", "e2fsck")
	s := newSite(t, nil, [2]string{"web-1", "127.0.0.1"}, [2]string{"web-2", "127.0.0.2"})
	image, size := fileSystem(t)
	volume := s.newVolume("database")
	s.attach(volume, "web-1")
	tool(t, "nbdcopy", image, s.uri(volume))
	snapshot := s.done(views.SnapshotsPath, "name", "before", "volume_id", volume, "acknowledge", "1")
	path := views.SnapshotsPath + "/" + snapshot
	s.wantUnknown(snapshot)
	for _, server := range []string{"web-1", "web-2"} {
		s.done(path+"/attach", "server_id", s.servers[server])
	}
	tool(t, "qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 64M", "-c", "flush", s.uri(volume)) // the source goes on

	read := func() {
		t.Helper()
		back := filepath.Join(t.TempDir(), "back")
		tool(t, "nbdcopy", s.uri(snapshot), back)
		if got, want := hashOf(t, back, size), hashOf(t, image, size); got != want {
			t.Errorf("%s came back, %s went in", got, want)
		}
		tool(t, "e2fsck", "-fn", back)
		tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", s.uri(snapshot), back)
		c, err := s.raw("127.0.0.1", snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteAt(bytes.Repeat([]byte{1}, 512), 0); !errors.Is(err, syscall.EPERM) {
			t.Errorf("written: %v", err)
		}
		c.Close()
	}
	read()
	s.Kill()
	s.start()
	if got := s.readers(snapshot); got != "web-1 web-2" {
		t.Errorf("after the kill it is attached to %q", got)
	}
	read()

	if _, err := s.raw("127.0.0.1", snapshot); err != nil { // whom the detachment waits for
		t.Fatal(err)
	}
	other, err := s.raw("127.0.0.2", snapshot)
	if err != nil {
		t.Fatal(err)
	}
	apptest.WantAccepted(t, s.post(path+"/detach", "server_id", s.servers["web-1"]))
	eventually(t, "nobody new is let in", func() bool {
		_, err := s.raw("127.0.0.1", snapshot)
		return errors.Is(err, backendtest.ErrNBDUnknown)
	})
	if _, err := other.ReadAt(make([]byte, 512), 0); err != nil {
		t.Errorf("the other server: %v", err)
	}
	apptest.WantProblem(t, s.post(path+"/delete"), http.StatusConflict)
	s.Kill()
	s.start()
	eventually(t, "web-1 has left", func() bool { return s.readers(snapshot) == "web-2" })
	s.done(path + "/detach")
	if got := s.readers(snapshot); got != "" {
		t.Errorf("it is attached to %q", got)
	}
	s.wantUnknown(snapshot)
	s.done(path + "/delete")
	s.Stop()
}
