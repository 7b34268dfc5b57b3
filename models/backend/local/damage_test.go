//go:build linux

package local

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

// dataPath is the path of a volume's bytes.
func (s *harness) dataPath(ref string) string { return filepath.Join(s.dir, "volumes", ref, dataFile) }

// wantDamaged waits until the volume is in ERROR because of its files, and returns why.
func wantDamaged(t *testing.T, b *Backend, ref, path string) *backend.Error {
	t.Helper()
	v := waitStatus(t, b, ref, backend.ErrorStatus)
	why := backend.AsError(v.Failure)
	if why == nil || !strings.Contains(why.Error(), path) {
		t.Fatalf("%s: %v, want the path %s", v.Status, v.Failure, path)
	}
	return why
}

func TestDamage_RemovedWhileAttached(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	c := useExport(t, s.b, s.used)
	if _, err := c.WriteAt(text, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.dataPath(s.used)); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("FLUSH of a removed file: %v", err)
	}
	if err := c.WriteFUA(text, 4096); !errors.Is(err, syscall.EIO) {
		t.Errorf("FUA to a removed file: %v", err)
	}
	why := wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	if v := getVolume(t, s.b, s.used); len(v.Attachments) != 1 {
		t.Errorf("the row forgets the server: %+v", v)
	}
	if err := s.b.DetachVolume(t.Context(), backend.Key{Ref: s.used}, "here", true); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	v := getVolume(t, s.b, s.used)
	if v.Status != backend.ErrorStatus || len(v.Attachments) != 0 {
		t.Fatalf("detached: %+v", v)
	}
	saved, err := os.ReadFile(why.Kept)
	if err != nil || !bytes.HasPrefix(saved, text) || int64(len(saved)) != gib {
		t.Errorf("the open file at %q: %d bytes, %v", why.Kept, len(saved), err)
	}
	if err := s.b.DeleteVolume(t.Context(), backend.Key{Ref: s.used}); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if file, _ := os.Readlink(why.Kept); strings.HasPrefix(file, s.dataPath(s.used)) { // the number may be another test's by now
		t.Errorf("the file of a deleted volume is still open: %s", file)
	}
}

func TestDamage_ShortenedWhileAttached(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	c := useExport(t, s.b, s.used)
	if err := os.Truncate(s.dataPath(s.used), 500<<20); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("FLUSH of a shortened file: %v", err)
	}
	if _, err := c.WriteAt(text, gib-int64(len(text))); err != nil { // the file is long enough again, with zeroes
		t.Fatal(err)
	}
	if err := c.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("FLUSH after the loss was covered: %v", err)
	}
	wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	if err := s.b.DetachVolume(t.Context(), backend.Key{Ref: s.used}, "here", true); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	s.reopen()
	wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	if err := s.b.RepairVolume(t.Context(), backend.Key{Ref: s.used}, backend.Available); err != nil {
		t.Fatal(err)
	}
	if v := getVolume(t, s.b, s.used); v.Status != backend.Available || v.Failure != nil {
		t.Errorf("repaired: %+v", v)
	}
}

func TestDamage_MovedAwayAndBack(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	c := useExport(t, s.b, s.used)
	away := filepath.Join(s.dir, "away")
	if err := os.Rename(s.dataPath(s.used), away); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	if err := os.Rename(away, s.dataPath(s.used)); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, s.b, s.used, backend.InUse)
	if err := c.Flush(); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestDamage_ReplacedWhileAttached(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	useExport(t, s.b, s.used)
	other := filepath.Join(s.dir, "other")
	writeFile(t, s.dir, "other", "")
	if err := errors.Join(os.Truncate(other, gib), os.Rename(other, s.dataPath(s.used))); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	if err := s.b.DetachVolume(t.Context(), backend.Key{Ref: s.used}, "here", true); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	wantDamaged(t, s.b, s.used, s.dataPath(s.used)) // what servers wrote is not in this file
}

// TestDamage_Detached: what nobody uses is looked at in turn, and before it is used.
func TestDamage_Detached(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) (path string, err error){
		"data removed":          func(dir string) (string, error) { return dir + "/" + dataFile, os.Remove(dir + "/" + dataFile) },
		"data shortened":        func(dir string) (string, error) { return dir + "/" + dataFile, os.Truncate(dir+"/"+dataFile, 500<<20) },
		"description removed":   func(dir string) (string, error) { return dir + "/" + metaFile, os.Remove(dir + "/" + metaFile) },
		"description shortened": func(dir string) (string, error) { return dir + "/" + metaFile, os.Truncate(dir+"/"+metaFile, 20) },
		"folder removed":        func(dir string) (string, error) { return dir + "/" + dataFile, os.RemoveAll(dir) },
		"link in its place": func(dir string) (string, error) {
			return dir + "/" + dataFile, errors.Join(os.Rename(dir+"/"+dataFile, dir+"/../../moved"), os.Symlink(dir+"/../../moved", dir+"/"+dataFile))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newHarness(t, nil)
			path, err := spoil(filepath.Join(s.dir, "volumes", s.bare))
			if err != nil {
				t.Fatal(err)
			}
			snapshotPath, err := spoil(filepath.Join(s.dir, "snapshots", s.snap))
			if err != nil {
				t.Fatal(err)
			}
			for what, call := range map[string]func() error{
				"attach": func() error { return s.b.AttachVolume(t.Context(), backend.Key{Ref: s.bare}, "here") },
				"extend": func() error { return s.b.ExtendVolume(t.Context(), backend.Key{Ref: s.bare}, 2) },
				"snapshot": func() error {
					_, err := s.b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.bare}})
					return err
				},
				"restore": func() error {
					_, err := s.b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: s.copy, SizeGiB: 1, Snapshot: &backend.Key{Ref: s.snap}})
					return err
				},
			} {
				if strings.HasPrefix(name, "description") {
					break // the data is whole
				}
				if err := call(); backend.AsError(err, backend.CodeDamaged) == nil {
					t.Errorf("%s: %v", what, err)
				}
				if err := s.b.RepairVolume(t.Context(), backend.Key{Ref: s.bare}, backend.Available); backend.AsError(err, backend.CodeDamaged) == nil {
					t.Errorf("repair: %v", err)
				}
			}
			wantDamaged(t, s.b, s.bare, path)
			for range 8 {
				s.b.inspectDue() // its turn
			}
			if snap, err := s.b.Snapshot(t.Context(), backend.Key{Ref: s.snap}); err != nil || snap.Status != backend.ErrorStatus || !strings.Contains(snap.Failure.Error(), snapshotPath) {
				t.Errorf("%+v %v", snap, err)
			}
			if strings.HasPrefix(name, "description") {
				if err := s.b.RepairVolume(t.Context(), backend.Key{Ref: s.bare}, backend.Available); err != nil {
					t.Fatal(err)
				}
				if _, err := readMeta(filepath.Dir(path), volumes, s.bare); err != nil || getVolume(t, s.b, s.bare).Status != backend.Available {
					t.Errorf("repaired: %v", err)
				}
				return
			}
			if v := getVolume(t, s.b, s.vol); v.Status != backend.Available {
				t.Errorf("one that is whole: %+v", v)
			}
			keys, err := s.b.Faults(t.Context())
			if err != nil || len(keys.Volumes) != 1 || len(keys.Snapshots) != 1 {
				t.Errorf("%v %v", keys, err)
			}
			if err := errors.Join(s.b.DeleteVolume(t.Context(), backend.Key{Ref: s.bare}), s.b.DeleteSnapshot(t.Context(), backend.Key{Ref: s.snap})); err != nil {
				t.Fatal(err)
			}
			settle(t, s.b)
			if _, err := s.b.Volume(t.Context(), backend.Key{Ref: s.bare}); !errors.Is(err, backend.ErrNotFound) {
				t.Errorf("deleted: %v", err)
			}
		})
	}
}

// TestDamage_Restart: what was removed while nobody looked is in ERROR after the start,
// is not served, and comes back with its file.
func TestDamage_Restart(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.b.Close()
	away := filepath.Join(s.dir, "away")
	if err := errors.Join(os.Rename(s.dataPath(s.used), away), os.Truncate(s.dataPath(s.vol), 500<<20)); err != nil {
		t.Fatal(err)
	}
	s.b = open(t, withNBD(t, Options{Dir: s.dir}))
	wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	wantDamaged(t, s.b, s.vol, s.dataPath(s.vol))
	wantDenied(t, s.b, "127.0.0.1", s.used)
	if err := os.Rename(away, s.dataPath(s.used)); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, s.b, s.used, backend.InUse)
	if err := useExport(t, s.b, s.used).Flush(); err != nil {
		t.Error(err)
	}
}

// TestDamage_OpenedShortened: an attached volume whose file was shortened before the
// start is not served at its short length.
func TestDamage_OpenedShortened(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.b.Close()
	if err := os.Truncate(s.dataPath(s.used), 500<<20); err != nil {
		t.Fatal(err)
	}
	s.b = open(t, withNBD(t, Options{Dir: s.dir}))
	wantDamaged(t, s.b, s.used, s.dataPath(s.used))
	wantDenied(t, s.b, "127.0.0.1", s.used)
	if err := s.b.DetachVolume(t.Context(), backend.Key{Ref: s.used}, "here", false); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if v := getVolume(t, s.b, s.used); v.Status != backend.ErrorStatus || len(v.Attachments) != 0 {
		t.Errorf("%+v", v)
	}
}

// TestInspections_Turn: every object has its turn, and within a day however many there
// are.
func TestInspections_Turn(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	seen := map[string]int{}
	for range 4 * 2 {
		for _, o := range s.b.dueInspections() {
			seen[o.meta.Ref]++
		}
	}
	for _, ref := range []string{s.vol, s.bare, s.used, s.snap} {
		if seen[ref] < 2 {
			t.Errorf("%d turns in twice as many inspections as there are objects", seen[ref])
		}
	}
	for _, all := range []int{1, 86_399, 86_400, 200_000, 10_000_000} {
		if n := inspectedAtOnce(all); n*86_400 < all || n > 1+all/86_400 {
			t.Errorf("%d of %d at once", n, all)
		}
	}
}
