//go:build linux

package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/checksum"
)

const atOnce = int64(1) << 50 // a ChecksumRate

// flipped is the offset at which flip changes a byte: in the block with the number
// flippedBlock, which has data.
const (
	flipped      = int64(300 << 20)
	flippedBlock = flipped / checksum.BlockBytes
)

func (s *harness) snapshotPath(name string) string {
	return filepath.Join(s.dir, "snapshots", s.snap, name)
}

// flip changes a bit of the snapshot's data, as a disk does that forgets.
func (s *harness) flip() {
	s.Helper()
	path := s.snapshotPath(dataFile)
	if err := os.Chmod(path, 0o600); err != nil {
		s.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, flipped); err != nil {
		s.Fatal(err)
	}
	b[0] ^= 16
	if _, err := f.WriteAt(b, flipped); err != nil {
		s.Fatal(err)
	}
}

// waitChecks polls the snapshot until its checks are as wanted.
func (s *harness) waitChecks(want string, ok func(backend.Checks) bool) backend.Checks {
	s.Helper()
	var c backend.Checks
	poll(s.T, want, func() bool {
		v, found := s.snapshot(s.snap)
		c = v.Checks
		return found && ok(c)
	})
	return c
}

// poll looks until something is so.
func poll(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline, look := time.After(30*time.Second), time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("not %s", what)
		}
	}
}

func hasSums(c backend.Checks) bool { return !c.ComputedAt.IsZero() }

// checkNow has the snapshot checked.
func (s *harness) checkNow(renew bool) backend.Checks {
	s.Helper()
	if err := s.b.CheckSnapshot(s.Context(), backend.Key{Ref: s.snap}, renew); err != nil {
		s.Fatal(err)
	}
	return s.waitChecks("at its end", func(c backend.Checks) bool { return !c.Running })
}

// open opens the folder again with other options.
func (s *harness) open(o Options) {
	s.Helper()
	if err := s.b.Close(); err != nil {
		s.Fatal(err)
	}
	o.Dir = s.dir
	s.b = open(s.T, withNBD(s.T, o))
	settle(s.T, s.b)
}

// restore makes a volume of the snapshot and waits for its end.
func (s *harness) restore() backend.Volume {
	s.Helper()
	ref := newRef(s.T)
	if _, err := s.b.CreateVolume(s.Context(), backend.VolumeSpec{Ref: ref, Name: "restored", SizeGiB: 2, Snapshot: &backend.Key{Ref: s.snap}}); err != nil {
		s.Fatal(err)
	}
	settle(s.T, s.b)
	return getVolume(s.T, s.b, ref)
}

// wantBadBlock fails unless d names the block that flip changed.
func (s *harness) wantBadBlock(d *backend.Error) {
	s.Helper()
	if d == nil || d.Code != backend.CodeDamaged || d.Damage != backend.BadBlocks || d.Bad != 1 ||
		!slices.Equal(d.Blocks, []int64{flippedBlock}) || d.BlockBytes != checksum.BlockBytes || d.Path != s.snapshotPath(dataFile) {
		s.Errorf("%+v, want block %d of %s", d, flippedBlock, s.snapshotPath(dataFile))
	}
}

func TestRestore_FlippedBit(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.testFlippedBit()
}

func TestRestore_FlippedBitReflink(t *testing.T) {
	t.Parallel()
	s := newHarnessIn(t, xfs(t, 8<<30), nil)
	if !s.b.reflink {
		t.Fatal("the file system shares no blocks")
	}
	s.testFlippedBit()
	s.b.Close() // before the file system goes
}

func (s *harness) testFlippedBit() {
	s.Helper()
	s.checkNow(false)
	if v := s.restore(); v.Status != backend.Available {
		s.Fatalf("a whole snapshot: %+v", v)
	}
	s.waitChecks("verified by the restore", func(c backend.Checks) bool { return !c.CheckedAt.IsZero() && c.Damage == nil })
	s.flip()
	v := s.restore()
	d := backend.AsError(v.Failure)
	if v.Status != backend.ErrorStatus {
		s.Fatalf("a Volume with wrong bytes is handed over: %+v", v)
	}
	s.wantBadBlock(d)
	if d.Of != "old" {
		s.Errorf("the snapshot is called %q", d.Of)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "volumes", v.Ref)); !os.IsNotExist(err) {
		s.Errorf("its files are there: %v", err)
	}
	sn, _ := s.snapshot(s.snap)
	s.wantBadBlock(sn.Checks.Damage)
	if sn.Status != backend.Available {
		s.Errorf("the other blocks cannot be used: %s", sn.Status)
	}
	faults, err := s.b.Faults(s.Context())
	if err != nil || !slices.ContainsFunc(faults.Snapshots, func(k backend.Key) bool { return k.Ref == s.snap }) {
		s.Errorf("nobody is told: %+v, %v", faults, err)
	}
	s.open(Options{})
	sn, _ = s.snapshot(s.snap)
	s.wantBadBlock(sn.Checks.Damage)
}

// TestRestore_WrongCopy: where the snapshot is whole and its copy is not, the snapshot is
// not blamed.
func TestRestore_WrongCopy(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.checkNow(false)
	o := s.b.snapshots.byRef[s.snap]
	src := source{path: s.snapshotPath(dataFile), object: o, size: gib}
	f, err := os.Create(filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(gib); err != nil {
		t.Fatal(err)
	}
	err = s.b.verifyRestored(t.Context(), f, src, &job{})
	if fault := backend.AsError(err, backend.CodeFault); fault == nil || fault.Cause != backend.DiskError {
		t.Errorf("a copy of zeroes: %v", err)
	}
	if sn, _ := s.snapshot(s.snap); sn.Checks.Damage != nil {
		t.Errorf("the snapshot: %+v", sn.Checks)
	}
}

func TestChecks_Unasked(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	if sn, _ := s.snapshot(s.snap); hasSums(sn.Checks) {
		t.Fatal("a test of nothing")
	}
	s.open(Options{ChecksumRate: atOnce}) // an old snapshot gets its checksums in turn
	s.waitChecks("computed", hasSums)
	s.snap = newRef(t) // and a new one by itself
	if _, err := s.b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: s.snap, Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	c := s.waitChecks("computed", hasSums)
	if !c.CheckedAt.IsZero() || c.Damage != nil || c.Running || c.Percent != backend.PercentUnknown {
		t.Errorf("%+v", c)
	}
	s.wantConsistent()
	if err := s.b.DeleteSnapshot(t.Context(), backend.Key{Ref: s.snap}); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if left, err := os.ReadDir(filepath.Join(s.dir, "quarantine")); err != nil || len(left) > 0 {
		t.Errorf("the quarantine has %v, %v", left, err)
	}
}

// slowHarness computes checksums at a byte a second: it stays with the first block.
func slowHarness(t *testing.T) *harness {
	t.Helper()
	s := newHarness(t, nil)
	s.open(Options{ChecksumRate: 1})
	waitFile(t, s.sumsPath(), true)
	return s
}

func (s *harness) sumsPath() string { return filepath.Join(s.dir, "tmp", s.snap+".sums") }

func waitFile(t *testing.T, path string, want bool) {
	t.Helper()
	poll(t, fmt.Sprintf("%s there: %v", path, want), func() bool {
		_, err := os.Stat(path)
		return (err == nil) == want
	})
}

func TestChecks_GoOnAfterClose(t *testing.T) {
	t.Parallel()
	s := slowHarness(t)
	s.open(Options{ChecksumRate: atOnce})
	s.waitChecks("computed", hasSums)
	waitFile(t, s.sumsPath(), false)
}

// TestChecks_AfterKill: what a kill leaves is a part of a file in tmp/, or a checksum file
// of which the description does not know.
func TestChecks_AfterKill(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.b.Close()
	writeFile(t, s.dir, "tmp/"+s.snap+".sums", "a part")
	s.open(Options{})
	waitFile(t, s.sumsPath(), false)
	meta, err := os.ReadFile(s.snapshotPath(metaFile))
	if err != nil {
		t.Fatal(err)
	}
	first := s.checkNow(false)
	s.b.Close()
	if err := os.WriteFile(s.snapshotPath(metaFile), meta, 0o600); err != nil {
		t.Fatal(err)
	}
	s.open(Options{})
	if sn, _ := s.snapshot(s.snap); hasSums(sn.Checks) {
		t.Fatal("a test of nothing")
	}
	if again := s.checkNow(false); !again.ComputedAt.Equal(first.ComputedAt) || again.Damage != nil {
		t.Errorf("%+v, want the checksums of %v", again, first.ComputedAt)
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, "quarantine")); err != nil || len(left) > 0 {
		t.Errorf("the quarantine has %v, %v", left, err)
	}
}

// TestChecks_Meanwhile: a snapshot whose checksums are being computed is renamed, checked
// and deleted as ever.
func TestChecks_Meanwhile(t *testing.T) {
	t.Parallel()
	s := slowHarness(t)
	key := backend.Key{Ref: s.snap}
	if err := s.b.RenameSnapshot(t.Context(), key, "renamed", ""); err != nil {
		t.Fatal(err)
	}
	if v := s.restore(); v.Status != backend.Available {
		t.Errorf("restored meanwhile: %+v", v)
	}
	if err := s.b.DeleteSnapshot(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if _, ok := s.snapshot(s.snap); ok {
		t.Error("it is still there")
	}
	s.open(Options{ChecksumRate: atOnce})
	s.wantConsistent()
	waitFile(t, s.sumsPath(), false)
}

// TestChecks_Yield: the checksums that nobody asked for wait for copies, and a check that
// somebody asked for does not wait for them.
func TestChecks_Yield(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.b.Close()
	s.b = open(t, withNBD(t, Options{Dir: s.dir, ChecksumRate: atOnce, MaxCopies: 1, hook: func(o op, path string) error {
		if o == opCreate && path == s.sumsPath() {
			select {
			case s.b.copySlots <- struct{}{}: // a copy begins
			default:
			}
		}
		return nil
	}}))
	waitFile(t, s.sumsPath(), true)
	c := s.checkNow(false)
	if !hasSums(c) || c.Failure != nil {
		t.Errorf("%+v", c)
	}
	if c = s.checkNow(false); c.CheckedAt.IsZero() || c.Damage != nil {
		t.Errorf("checked: %+v", c)
	}
	<-s.b.copySlots
}

func TestCheckSnapshot_Damage(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	whole := s.checkNow(false)
	if c := s.checkNow(false); c.Damage != nil || c.CheckedAt.IsZero() || !c.ComputedAt.Equal(whole.ComputedAt) {
		t.Fatalf("whole: %+v", c)
	}
	s.flip()
	s.wantBadBlock(s.checkNow(false).Damage)
	s.flip() // the administrator has put the right bytes back
	if c := s.checkNow(false); c.Damage != nil {
		t.Errorf("whole again: %+v", c)
	}
	s.flip()
	s.checkNow(false)
	if c := s.checkNow(true); c.Damage != nil || !c.ComputedAt.After(whole.ComputedAt) {
		t.Errorf("accepted as it is: %+v", c)
	}
	if v := s.restore(); v.Status != backend.Available {
		t.Errorf("restored as it is: %+v", v)
	}
}

// TestCheckSnapshot_BrokenChecksums: a checksum file that is gone, damaged or foreign is
// said, and neither used nor made again until somebody asks for that.
func TestCheckSnapshot_BrokenChecksums(t *testing.T) {
	t.Parallel()
	for name, breakFile := range map[string]func(path string) error{
		"gone":    os.Remove,
		"foreign": func(path string) error { return os.WriteFile(path, []byte("something else\n"), 0o600) },
		"link":    func(path string) error { return errors.Join(os.Remove(path), os.Symlink("nothing", path)) },
		"shorter": func(path string) error { return os.Truncate(path, 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newHarness(t, nil)
			s.checkNow(false)
			if err := breakFile(s.snapshotPath(checksumFile)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(s.snapshotPath(checksumFile))
			if v := s.restore(); v.Status != backend.ErrorStatus || backend.AsError(v.Failure).Damage != backend.BadChecksums {
				t.Errorf("restored: %+v", v)
			}
			c := s.checkNow(false)
			if c.Damage == nil || c.Damage.Damage != backend.BadChecksums || c.Damage.Path != s.snapshotPath(checksumFile) {
				t.Errorf("checked: %+v", c)
			}
			s.open(Options{ChecksumRate: atOnce})
			if after, _ := os.ReadFile(s.snapshotPath(checksumFile)); name != "link" && !bytes.Equal(before, after) {
				t.Error("it was made again silently")
			}
			if c := s.checkNow(true); c.Damage != nil || !hasSums(c) {
				t.Errorf("renewed: %+v", c)
			}
			if v := s.restore(); v.Status != backend.Available {
				t.Errorf("restored: %+v", v)
			}
		})
	}
}

func TestCheckSnapshot_Refused(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	if err := s.b.CheckSnapshot(t.Context(), backend.Key{Ref: newRef(t)}, false); backend.AsError(err, backend.CodeNotFound) == nil {
		t.Errorf("of nothing: %v", err)
	}
	if err := os.Remove(s.snapshotPath(dataFile)); err != nil {
		t.Fatal(err)
	}
	if err := s.b.CheckSnapshot(t.Context(), backend.Key{Ref: s.snap}, false); backend.AsError(err, backend.CodeDamaged) == nil {
		t.Errorf("without a file: %v", err)
	}
}
