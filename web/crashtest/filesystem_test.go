//go:build linux

package crashtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"blockconsole/views"
)

// mountExport makes an ext4 of an export and mounts it, as a server would with the
// kernel's own client, which not every machine has: nbdfuse shows the export as a file,
// and a loop device makes a block device of that.
func mountExport(t *testing.T, uri string) (folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	fuse := filepath.Join(t.TempDir(), "export")
	if err := os.WriteFile(fuse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	client := exec.Command("nbdfuse", fuse, uri)
	var said bytes.Buffer
	client.Stderr = &said
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	eventually(t, "nbdfuse", func() bool {
		select {
		case err := <-ended:
			t.Skipf("nbdfuse is not permitted here: %v: %s", err, said.String())
		default:
		}
		fi, err := os.Stat(fuse)
		return err == nil && fi.Size() == gib
	})
	t.Cleanup(func() {
		undo(t, "umount", fuse)
		if err := <-ended; err != nil {
			t.Errorf("nbdfuse: %v: %s", err, said.String())
		}
	})
	out, err := exec.Command("losetup", "--find", "--show", fuse).CombinedOutput()
	if err != nil {
		t.Skipf("loop devices are not permitted here: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { undo(t, "losetup", "--detach", device) })
	// A small journal is soon written again, and one at the beginning is copied first.
	tool(t, "mkfs.ext4", "-q", "-J", "size=4", "-E", "packed_meta_blocks=1", device)
	folder = t.TempDir()
	tool(t, "mount", "-o", "discard", device, folder)
	t.Cleanup(func() { undo(t, "umount", folder) })
	return folder
}

func undo(t *testing.T, name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v: %s", name, args, err, out)
	}
}

// fileText is what file n holds.
func fileText(n int) []byte {
	hash := sha256.Sum256(fmt.Append(nil, n))
	return bytes.Repeat(hash[:], 1+n*977%3000)
}

// program is one that saves files on the mounted file system, each whole and durable
// before the next, as databases do, and removes old ones.
type program struct {
	folder string
	stop   atomic.Bool
	saved  atomic.Int64 // the last file that is durable
}

// prepare makes two files that are written in place, the first at its beginning and the
// last at its end, which has no room before all that lies between them on the disk.
func (p *program) prepare() error {
	return errors.Join(saveFile(filepath.Join(p.folder, "before"), make([]byte, 1<<20)),
		saveFile(filepath.Join(p.folder, "much"), bytes.Repeat([]byte("much to copy "), 10<<20)),
		saveFile(filepath.Join(p.folder, "after"), make([]byte, afterBytes)))
}

const afterBytes = 8 << 20

// count writes one number after the other into the one file, then into the other one.
func (p *program) count() error {
	var files [2]*os.File
	at := [2]int64{0, afterBytes - 8}
	for i, name := range []string{"before", "after"} {
		f, err := os.OpenFile(filepath.Join(p.folder, name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	for n := uint64(1); !p.stop.Load(); n++ {
		for i, f := range files {
			if _, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, n), at[i]); err != nil {
				return err
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				return err
			}
		}
	}
	return nil
}

const filesKept = 30

func (p *program) run() error {
	for n := 1; !p.stop.Load(); n++ {
		temporary, name := filepath.Join(p.folder, "new"), p.name(n)
		if err := saveFile(temporary, fileText(n)); err != nil {
			return err
		}
		if err := os.Rename(temporary, name); err != nil {
			return err
		}
		if err := syncFolder(filepath.Dir(name)); err != nil {
			return err
		}
		p.saved.Store(int64(n))
		if err := os.Remove(p.name(n - filesKept)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (p *program) name(n int) string { return filepath.Join(p.folder, fmt.Sprintf("saved-%d", n)) }

func saveFile(path string, text []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// TestFileSystemInUse takes snapshots of a volume while the file system on it is written.
// Each is as a disk after a power cut: the journal is replayed, the file system has no
// fault, and every file that a program had saved is there as it was.
func TestFileSystemInUse(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: runs the program and clients of it")
	}
	needTools(t, "nbdfuse", "losetup", "mkfs.ext4", "e2fsck", "debugfs")
	s := newSite(t, nil, [2]string{"web-1", "127.0.0.1"})
	id := s.newVolume("database")
	s.attach(id, "web-1")
	writer := &program{folder: mountExport(t, s.uri(id))}
	if err := writer.prepare(); err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	for _, write := range []func() error{writer.run, writer.count} {
		writing.Go(func() {
			if err := write(); err != nil {
				t.Error(err)
			}
		})
	}
	defer writing.Wait()
	defer writer.stop.Store(true)
	for i := range int(number(t, "BLOCKCONSOLE_TEST_INSTANTS", 2)) {
		enough := writer.saved.Load() + filesKept
		eventually(t, "files are saved", func() bool { return writer.saved.Load() > enough || t.Failed() })
		before := writer.saved.Load()
		snapshot := s.done(views.SnapshotsPath, "name", fmt.Sprintf("in-use-%d", i), "volume_id", id, "acknowledge", "1")
		s.wantPowerCut(snapshot, int(before), int(writer.saved.Load()))
		s.done(views.SnapshotsPath + "/" + snapshot + "/delete")
	}
}

// wantPowerCut checks the file system of a snapshot that began after one file was saved
// and ended before another one was.
func (s *site) wantPowerCut(snapshot string, first, last int) {
	s.t.Helper()
	disk, out := filepath.Join(s.t.TempDir(), "disk"), s.t.TempDir()
	tool(s.t, "cp", "--sparse=always", filepath.Join(s.Data, "snapshots", snapshot, "data.raw"), disk)
	if err := os.Chmod(disk, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.wantJournalOnly(disk)
	tool(s.t, "e2fsck", "-fn", disk)
	tool(s.t, "debugfs", "-R", "rdump / "+out, disk)
	found := 0
	for n := max(1, first-filesKept); n <= last; n++ {
		text, err := os.ReadFile((&program{folder: out}).name(n))
		switch {
		case errors.Is(err, os.ErrNotExist) && (n > first || n <= last-filesKept):
			continue
		case err != nil:
			s.t.Errorf("file %d of %d that were saved: %v", n, first, err)
		case !bytes.Equal(text, fileText(n)):
			s.t.Errorf("file %d, saved before the snapshot: %t, holds %d bytes of others", n, n <= first, len(text))
		default:
			found++
		}
	}
	if found == 0 {
		s.t.Error("no file is there")
	}
	before, after := counted(s.t, out, "before", 0), counted(s.t, out, "after", afterBytes-8)
	if before == 0 || before-after > 1 {
		s.t.Errorf("of different moments: %d was counted first, and %d next", before, after)
	}
}

func counted(t *testing.T, folder, name string, at int) uint64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint64(text[at:])
}

// journalOnly are the lines of e2fsck on a disk after a power cut: it replays the journal,
// removes files that were open and had no name any more, and counts what is free in all,
// which Linux writes to the disk when a file system is unmounted.
var journalOnly = regexp.MustCompile(`^(e2fsck .*|Free (blocks|inodes) count wrong \(\d+, counted=\d+\)\.|Fix\? yes|.*: recovering journal|Pass \d.*|.*: \d+/\d+ files .*|Clearing orphaned inode .*|.*\*+ FILE SYSTEM WAS MODIFIED \*+|)$`)

func (s *site) wantJournalOnly(disk string) {
	s.t.Helper()
	out, err := exec.CommandContext(s.t.Context(), "e2fsck", "-fy", disk).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1 || exit.Sys().(syscall.WaitStatus).Signaled()) {
		s.t.Errorf("e2fsck: %v", err)
	}
	if !strings.Contains(string(out), "recovering journal") {
		s.t.Errorf("the file system was not in use: %s", out)
	}
	for line := range strings.Lines(string(out)) {
		if !journalOnly.MatchString(strings.TrimSpace(line)) {
			s.t.Errorf("e2fsck: %s", line)
		}
	}
}
