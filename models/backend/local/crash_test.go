//go:build linux

package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

// scenario is a change of the backend, starting from acknowledged objects.
type scenario struct {
	name string
	do   func(*harness) error
	done func(*harness) bool // the change is finished
}

// harness is a backend with three volumes, one of them attached, and a snapshot, and
// the refs that scenarios use.
type harness struct {
	*testing.T
	dir                              string
	b                                *Backend
	vol, bare, used, snap, new, copy string
}

var text = []byte("bytes that must not change")

func newHarness(t *testing.T, hook func(op, string) error) *harness {
	t.Helper()
	s := &harness{T: t, dir: memDir(t), vol: newRef(t), bare: newRef(t), used: newRef(t), snap: newRef(t), new: newRef(t), copy: newRef(t)}
	s.b = open(t, withNBD(t, Options{Dir: s.dir, hook: hook}))
	ctx := context.Background()
	for _, ref := range []string{s.vol, s.bare, s.used} {
		if _, err := s.b.CreateVolume(ctx, backend.VolumeSpec{Ref: ref, Name: "old", SizeGiB: 1}); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, s.b)
	f, err := os.OpenFile(filepath.Join(s.dir, "volumes", s.vol, dataFile), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, off := range []int64{0, 300 << 20, gib - int64(len(text))} {
		if _, err := f.WriteAt(text, off); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: s.snap, Name: "old", Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	if err := s.b.AttachVolume(ctx, backend.Key{Ref: s.used}, "here"); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	return s
}

// reopen opens the folder as the next process would.
func (s *harness) reopen() {
	s.Helper()
	s.b.Close()
	s.b = open(s.T, withNBD(s.T, Options{Dir: s.dir}))
	settle(s.T, s.b)
}

func (s *harness) volume(ref string) (backend.Volume, bool) {
	v, err := s.b.Volume(context.Background(), backend.Key{Ref: ref})
	return v, err == nil
}

func (s *harness) snapshot(ref string) (backend.Snapshot, bool) {
	v, err := s.b.Snapshot(context.Background(), backend.Key{Ref: ref})
	return v, err == nil
}

var scenarios = []scenario{
	{"create volume", func(s *harness) error {
		_, err := s.b.CreateVolume(context.Background(), backend.VolumeSpec{Ref: s.new, Name: "new", SizeGiB: 1})
		return err
	}, func(s *harness) bool { v, ok := s.volume(s.new); return ok && v.Status == backend.Available }},
	{"create snapshot", func(s *harness) error {
		_, err := s.b.CreateSnapshot(context.Background(), backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}})
		return err
	}, func(s *harness) bool { v, ok := s.snapshot(s.new); return ok && v.Status == backend.Available }},
	{"create snapshot of an attached volume", func(s *harness) error {
		if err := s.b.AttachVolume(context.Background(), backend.Key{Ref: s.vol}, "here"); err != nil {
			return err
		}
		_, err := s.b.CreateSnapshot(context.Background(), backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}, Attached: true, Acknowledged: true})
		return err
	}, func(s *harness) bool { v, ok := s.snapshot(s.new); return ok && v.Status == backend.Available }},
	{"restore larger", func(s *harness) error {
		_, err := s.b.CreateVolume(context.Background(), backend.VolumeSpec{Ref: s.copy, SizeGiB: 2, Snapshot: &backend.Key{Ref: s.snap}})
		return err
	}, func(s *harness) bool { v, ok := s.volume(s.copy); return ok && v.Status == backend.Available }},
	{"rename volume", func(s *harness) error {
		return s.b.RenameVolume(context.Background(), backend.Key{Ref: s.vol}, "new", "")
	}, func(s *harness) bool { v, ok := s.volume(s.vol); return ok && v.Name == "new" }},
	{"rename snapshot", func(s *harness) error {
		return s.b.RenameSnapshot(context.Background(), backend.Key{Ref: s.snap}, "new", "")
	}, func(s *harness) bool { v, ok := s.snapshot(s.snap); return ok && v.Name == "new" }},
	{"extend", func(s *harness) error {
		return s.b.ExtendVolume(context.Background(), backend.Key{Ref: s.vol}, 3)
	}, func(s *harness) bool { v, ok := s.volume(s.vol); return ok && v.SizeGiB == 3 }},
	{"delete volume", func(s *harness) error {
		return s.b.DeleteVolume(context.Background(), backend.Key{Ref: s.bare})
	}, func(s *harness) bool { _, ok := s.volume(s.bare); return !ok }},
	{"delete snapshot", func(s *harness) error {
		return s.b.DeleteSnapshot(context.Background(), backend.Key{Ref: s.snap})
	}, func(s *harness) bool { _, ok := s.snapshot(s.snap); return !ok }},
	{"attach", func(s *harness) error {
		return s.b.AttachVolume(context.Background(), backend.Key{Ref: s.bare}, "there")
	}, func(s *harness) bool {
		v, ok := s.volume(s.bare)
		return ok && v.Status == backend.InUse && v.Attachments[0].ServerID == "there"
	}},
	{"detach", func(s *harness) error {
		return s.b.DetachVolume(context.Background(), backend.Key{Ref: s.used}, "here", false)
	}, func(s *harness) bool {
		v, ok := s.volume(s.used)
		// ERROR after a failed flush.
		return ok && (v.Status == backend.Available || v.Status == backend.ErrorStatus) && len(v.Attachments) == 0
	}},
}

// faultScript makes the at-th call to the disk fail.
type faultScript struct {
	mu     sync.Mutex
	n      int // calls since it was armed
	at     int // the call that fails; 0 = none
	err    error
	freeze bool // every later call fails too
	log    []string
}

func (s *faultScript) hook(o op, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if s.at > 0 && (s.n == s.at || s.freeze && s.n > s.at) {
		s.log = append(s.log, fmt.Sprintf("call %d: %s %s", s.n, o, filepath.Base(path)))
		return s.err
	}
	return nil
}

func (s *faultScript) arm(at int, err error, freeze bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n, s.at, s.err, s.freeze, s.log = 0, at, err, freeze, nil
}

// countCalls counts a scenario's calls to the disk.
func (sc scenario) countCalls(t *testing.T) int {
	var sp faultScript
	s := newHarness(t, sp.hook)
	sp.arm(0, nil, false)
	s.retryUntilDone(sc, 1)
	s.wantClean(sc)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.n
}

// retryUntilDone repeats the change as the worker does, after repairing failed
// deletions.
func (s *harness) retryUntilDone(sc scenario, attempts int) {
	s.Helper()
	ctx := context.Background()
	var err error
	for range attempts {
		err = sc.do(s)
		settle(s, s.b)
		if sc.done(s) {
			return
		}
		for _, ref := range []string{s.bare, s.snap} {
			key := backend.Key{Ref: ref}
			if v, ok := s.volume(ref); ok && v.Status == backend.ErrorDeleting {
				_ = s.b.RepairVolume(ctx, key, backend.ErrorStatus) // the next attempt shows its error
			}
			if v, ok := s.snapshot(ref); ok && v.Status == backend.ErrorDeleting {
				_ = s.b.RepairSnapshot(ctx, key, backend.ErrorStatus)
			}
		}
	}
	s.Fatalf("%s does not get done: %v", sc.name, err)
}

// wantClean fails unless the disk holds the objects and nothing else.
func (s *harness) wantClean(sc scenario) {
	s.Helper()
	s.wantConsistent()
	for _, dir := range []string{"tmp", "trash", "quarantine"} {
		if left, err := os.ReadDir(filepath.Join(s.dir, dir)); err != nil || len(left) > 0 {
			s.Errorf("%s: %s still holds %v (%v)", sc.name, dir, left, err)
		}
	}
}

// wantConsistent fails unless the listed objects, and only those, are on the disk.
func (s *harness) wantConsistent() {
	s.Helper()
	ctx := context.Background()
	vols, err := s.b.Volumes(ctx, "", 100)
	if err != nil {
		s.Fatal(err)
	}
	snaps, err := s.b.Snapshots(ctx, "", 100)
	if err != nil {
		s.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range vols.Items {
		if v.Status == backend.Available {
			seen["volumes/"+v.Ref] = true
			s.wantBytes("volumes", v.Ref, v.SizeGiB, v.Ref == s.vol || v.Ref == s.copy)
		}
	}
	for _, v := range snaps.Items {
		if v.Status == backend.Available {
			seen["snapshots/"+v.Ref] = true
			s.wantBytes("snapshots", v.Ref, v.SizeGiB, true)
		}
	}
	for _, k := range []string{"volumes", "snapshots"} {
		entries, err := os.ReadDir(filepath.Join(s.dir, k))
		if err != nil {
			s.Fatal(err)
		}
		for _, e := range entries {
			if !seen[k+"/"+e.Name()] && !s.failed(e.Name()) {
				s.Errorf("%s/%s is on the disk and not shown", k, e.Name())
			}
		}
	}
	if _, ok := s.volume(s.vol); !ok {
		s.Error("the acknowledged volume is gone")
	}
}

func (s *harness) failed(ref string) bool {
	v, ok := s.volume(ref)
	n, okS := s.snapshot(ref)
	return ok && v.Status != backend.Available || okS && n.Status != backend.Available
}

func (s *harness) wantBytes(kind, ref string, sizeGiB int, filled bool) {
	s.Helper()
	f, err := os.Open(filepath.Join(s.dir, kind, ref, dataFile))
	if err != nil {
		s.Errorf("AVAILABLE without bytes: %v", err)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || fi.Size() != int64(sizeGiB)*gib {
		s.Errorf("%s %s: %d bytes, %v, want %d GiB", kind, ref, fi.Size(), err, sizeGiB)
	}
	if !filled {
		return
	}
	for _, off := range []int64{0, 300 << 20, gib - int64(len(text))} {
		got := make([]byte, len(text))
		if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, text) {
			s.Errorf("%s %s at %d: %q, %v", kind, ref, off, got, err)
		}
	}
}

var errKilled = errors.New("the process has died")

// TestScenarios_KillAtEveryCall freezes the disk before each call of a change, as a kill
// does, opens the folder again and repeats the change.
func TestScenarios_KillAtEveryCall(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			n := sc.countCalls(t)
			if n < 5 {
				t.Fatalf("only %d calls to the disk", n)
			}
			for at := 1; at <= n; at++ {
				var sp faultScript
				s := newHarness(t, sp.hook)
				sp.arm(at, errKilled, true)
				_ = sc.do(s) // its result never arrives
				settle(t, s.b)
				s.reopen()
				s.wantClean(sc) // also if nobody repeats the change
				s.retryUntilDone(sc, 2)
				s.wantClean(sc)
				if t.Failed() {
					t.Fatalf("killed at call %d of %d: %v", at, n, sp.log[:1])
				}
				s.b.Close()
			}
		})
	}
}

// TestScenarios_FailEveryCall makes each call of a change fail once: the same process
// must get it done, and the next one must find everything in order.
func TestScenarios_FailEveryCall(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			t.Run(strings.ReplaceAll(sc.name, " ", "_")+"_"+errno.Error(), func(t *testing.T) {
				n := sc.countCalls(t)
				for at := 1; at <= n; at++ {
					var sp faultScript
					s := newHarness(t, sp.hook)
					sp.arm(at, errno, false)
					s.retryUntilDone(sc, 6)
					s.wantConsistent()
					sp.arm(0, nil, false)
					s.reopen()
					if !sc.done(s) {
						t.Error("undone after a restart")
					}
					s.wantClean(sc)
					if t.Failed() {
						t.Fatalf("failed at call %d of %d: %v", at, n, sp.log)
					}
					s.b.Close()
				}
			})
		}
	}
}

// TestScenarios_ReadOnlyDisk makes all calls fail from one on, as a file system does that
// turned read-only, until it recovers.
func TestScenarios_ReadOnlyDisk(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			n := sc.countCalls(t)
			for at := 1; at <= n; at++ {
				var sp faultScript
				s := newHarness(t, sp.hook)
				sp.arm(at, syscall.EROFS, true)
				err := sc.do(s)
				settle(t, s.b)
				if err == nil && sc.done(s) {
					t.Errorf("done although the disk died: %v", sp.log)
				}
				sp.arm(0, nil, false)
				s.retryUntilDone(sc, 3)
				s.reopen()
				if !sc.done(s) {
					t.Error("undone after a restart")
				}
				s.wantClean(sc)
				if t.Failed() {
					t.Fatalf("dead from call %d of %d", at, n)
				}
				s.b.Close()
			}
		})
	}
}
