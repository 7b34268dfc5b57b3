//go:build linux

package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

// requireTools skips a test whose programs are missing, or fails it where
// BLOCKCONSOLE_REQUIRE_NBD is set.
func requireTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("BLOCKCONSOLE_REQUIRE_NBD") != "" {
			t.Fatal(name + " is missing")
		}
		t.Skip(name + " is missing")
	}
}

// attachSnapshot attaches the harness's snapshot to servers.
func (s *harness) attachSnapshot(servers ...string) backend.Key {
	s.Helper()
	key := backend.Key{Ref: s.snap}
	for _, server := range servers {
		if err := s.b.AttachSnapshot(s.Context(), key, server); err != nil {
			s.Fatal(err)
		}
	}
	return key
}

// waitReaders waits until the snapshot is attached to these servers alone, and is
// AVAILABLE all the time.
func (s *harness) waitReaders(servers ...string) backend.Snapshot {
	s.Helper()
	deadline, look := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer look.Stop()
	for {
		sn, ok := s.snapshot(s.snap)
		if !ok || sn.Status != backend.Available || sn.Failure != nil {
			s.Fatalf("%+v", sn)
		}
		var ids []string
		for _, a := range sn.Attachments {
			ids = append(ids, a.ServerID)
		}
		if strings.Join(ids, " ") == strings.Join(servers, " ") {
			return sn
		}
		select {
		case <-look.C:
		case <-deadline:
			s.Fatalf("attached to %v, want %v", ids, servers)
		}
	}
}

// What others use reads the bytes of a snapshot, and sees that it is read-only. Not
// parallel: programs that are being started keep file systems of other tests busy.
func TestAttachSnapshot_Tools(t *testing.T) {
	requireTools(t, "nbdinfo", "nbdcopy", "qemu-img", "qemu-io")
	s := newHarness(t, nil)
	s.attachSnapshot("here")
	uri, dir := "nbd://"+s.b.nbd.address+"/"+s.snap, t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	var info struct{ Exports []map[string]any }
	if err := json.Unmarshal([]byte(run("nbdinfo", "--json", uri)), &info); err != nil || len(info.Exports) != 1 {
		t.Fatal(info, err)
	}
	if e := info.Exports[0]; e["is_read_only"] != true || e["can_trim"] != false || e["can_zero"] != false || e["export-size"] != float64(gib) {
		t.Error(e)
	}
	run("nbdcopy", uri, filepath.Join(dir, "nbdcopy.raw"))
	run("qemu-img", "convert", "-f", "raw", "-O", "raw", uri, filepath.Join(dir, "convert.raw"))
	for _, copied := range []string{"nbdcopy.raw", "convert.raw"} {
		run("qemu-img", "compare", "-f", "raw", "-F", "raw", filepath.Join(dir, copied), filepath.Join(s.dir, "snapshots", s.snap, dataFile))
	}
	if out, err := exec.CommandContext(t.Context(), "qemu-io", "-f", "raw", "-c", "write 0 4k", uri).CombinedOutput(); err == nil {
		t.Errorf("written: %s", out)
	}
}

// A client that does not heed the flag is refused, and the bytes stay.
func TestAttachSnapshot_WritesRefused(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.attachSnapshot("here")
	c := useExport(t, s.b, s.snap)
	if _, err := c.WriteAt([]byte("no"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("written: %v", err)
	}
	if err := c.WriteFUA([]byte("no"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("written with FUA: %v", err)
	}
	got := make([]byte, len(text))
	if _, err := c.ReadAt(got, 300<<20); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
	mode := openMode(t, filepath.Join(s.dir, "snapshots", s.snap, dataFile))
	if mode&syscall.O_ACCMODE != syscall.O_RDONLY {
		t.Errorf("the file is open with the mode %o", mode)
	}
}

// wantNoExport fails where the snapshot exists for a client from that address.
func (s *harness) wantNoExport(from string) {
	s.Helper()
	if err := dialNBD(s.T, s.b, from).Use(s.snap); !errors.Is(err, backendtest.ErrNBDUnknown) {
		s.Errorf("from %s: %v", from, err)
	}
}

// openMode is the mode in which this process has a file open.
func openMode(t *testing.T, path string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != path {
			continue
		}
		info, err := os.ReadFile("/proc/self/fdinfo/" + filepath.Base(link))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(info)) {
			if flags, ok := strings.CutPrefix(line, "flags:\t0"); ok {
				n := 0
				for _, digit := range strings.TrimSpace(flags) {
					n = n*8 + int(digit-'0')
				}
				return n
			}
		}
	}
	t.Fatal("nobody has it open")
	return 0
}

// Each server comes and goes by itself, as its registration says.
func TestAttachSnapshot_SeveralServers(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.wantNoExport("127.0.0.1")
	key := s.attachSnapshot("here", "there")
	s.wantNoExport("127.0.0.3")
	one, two := useExport(t, s.b, s.snap), dialNBD(t, s.b, "127.0.0.2")
	if err := two.Use(s.snap); err != nil {
		t.Fatal(err)
	}
	list, err := s.b.Connections(t.Context())
	if err != nil || len(list) != 2 || list[0].Kind != backend.SubjectSnapshot || list[0].Object.Ref != s.snap || list[0].ServerID != "here" || list[1].ServerID != "there" {
		t.Fatalf("%+v %v", list, err)
	}
	if err := s.b.DeleteSnapshot(t.Context(), key); backend.AsError(err, backend.CodeConflict) == nil || backend.AsError(err).WhyArg != "web-1, web-2" {
		t.Errorf("deleted in use: %v", err)
	}
	if err := s.b.DetachSnapshot(t.Context(), key, "here", false); err != nil {
		t.Fatal(err)
	}
	if sn := s.waitReaders("here", "there"); sn.Attachments[0].DetachingAt == 0 || sn.Attachments[1].DetachingAt != 0 || sn.Attachments[0].UsedAt == 0 {
		t.Errorf("%+v", sn.Attachments)
	}
	s.wantNoExport("127.0.0.1")
	if err := s.b.AttachSnapshot(t.Context(), key, "here"); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("attached while it is detached: %v", err)
	}
	if err := s.b.DetachSnapshot(t.Context(), key, "there", true); err != nil { // overtakes the one that waits
		t.Fatal(err)
	}
	if err := two.Ended(); err != nil {
		t.Error(err)
	}
	s.waitReaders("here")
	if _, err := one.ReadAt(make([]byte, 512), 0); err != nil {
		t.Error("who is connected may finish:", err)
	}
	one.Close()
	s.waitReaders()
	s.attachSnapshot("here")
	useExport(t, s.b, s.snap)
}

// While it is read, it is copied, and what detaches last lets it go.
func TestAttachSnapshot_RestoreMeanwhile(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	key := s.attachSnapshot("here")
	c := useExport(t, s.b, s.snap)
	if _, err := s.b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: s.copy, SizeGiB: 2, Snapshot: &key}); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	s.wantBytes("volumes", s.copy, 2, true)
	if err := s.b.RepairSnapshot(t.Context(), key, backend.ErrorStatus); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("repaired in use: %v", err)
	}
	if err := s.b.DetachSnapshot(t.Context(), key, "here", true); err != nil {
		t.Fatal(err)
	}
	if err := c.Ended(); err != nil {
		t.Error(err)
	}
	s.waitReaders()
	if err := s.b.DeleteSnapshot(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if sn, ok := s.snapshot(s.snap); ok {
		t.Errorf("%+v", sn)
	}
}

// A detachment that waits goes on after the next start, and what is attached is served.
func TestAttachSnapshot_Reopened(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	key := s.attachSnapshot("here", "there")
	c := useExport(t, s.b, s.snap)
	if err := s.b.DetachSnapshot(t.Context(), key, "here", false); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if err := c.Ended(); err != nil {
		t.Error(err)
	}
	s.waitReaders("there")
	c = dialNBD(t, s.b, "127.0.0.2")
	got := make([]byte, len(text))
	if err := c.Use(s.snap); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
}

// Servers with one address cannot be told apart: a client stays as long as one of them
// may read.
func TestAttachSnapshot_SharedAddress(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	key := s.attachSnapshot("here", "near")
	c := useExport(t, s.b, s.snap)
	if err := s.b.DetachSnapshot(t.Context(), key, "here", true); err != nil {
		t.Fatal(err)
	}
	s.waitReaders("near")
	if _, err := c.ReadAt(make([]byte, 512), 0); err != nil {
		t.Error(err)
	}
	if list, err := s.b.Connections(t.Context()); err != nil || len(list) != 1 || list[0].ServerID != "near" {
		t.Errorf("%+v %v", list, err)
	}
}

// Somebody removes the file that servers read: the snapshot says so, and nobody else
// gets it.
func TestAttachSnapshot_FileGone(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	key := s.attachSnapshot("here")
	c := useExport(t, s.b, s.snap)
	if err := os.Remove(filepath.Join(s.dir, "snapshots", s.snap, dataFile)); err != nil {
		t.Fatal(err)
	}
	s.b.inspectDue()
	sn, _ := s.snapshot(s.snap)
	d := backend.AsError(sn.Failure, backend.CodeDamaged)
	if sn.Status != backend.ErrorStatus || d == nil || d.Served || d.Kept != "" || len(sn.Attachments) != 1 {
		t.Fatalf("%+v", sn)
	}
	if err := s.b.AttachSnapshot(t.Context(), key, "there"); backend.AsError(err, backend.CodeDamaged) == nil {
		t.Errorf("attached without data: %v", err)
	}
	got := make([]byte, len(text))
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, text) { // the open file has it still
		t.Errorf("%q, %v", got, err)
	}
	if err := s.b.DetachSnapshot(t.Context(), key, "here", true); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if sn, _ := s.snapshot(s.snap); sn.Status != backend.ErrorStatus || len(sn.Attachments) != 0 {
		t.Errorf("%+v", sn)
	}
}

// A disk that fails to read is shown while the snapshot is attached.
func TestAttachSnapshot_DiskErrors(t *testing.T) {
	t.Parallel()
	d := &failingDisk{errno: syscall.EIO}
	s := newHarness(t, d.hook)
	key := s.attachSnapshot("here")
	c := useExport(t, s.b, s.snap)
	d.failOn("read")
	if _, err := c.ReadAt(make([]byte, 512), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("the client receives %v", err)
	}
	d.failOn("")
	sn, _ := s.snapshot(s.snap)
	faults, err := s.b.Faults(t.Context())
	if fault := backend.AsError(sn.Failure, backend.CodeFault); sn.Status != backend.Available || fault == nil || fault.Op != "read" ||
		err != nil || len(faults.Snapshots) != 1 || len(faults.Volumes) != 0 {
		t.Errorf("%+v, %+v, %v", sn, faults, err)
	}
	if err := s.b.DetachSnapshot(t.Context(), key, "here", true); err != nil {
		t.Fatal(err)
	}
	s.waitReaders()
}
