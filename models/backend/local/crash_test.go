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

// A scene is one change of the backend, from a state that was acknowledged.
type scene struct {
	name string
	do   func(*stage) error
	done func(*stage) bool // the change is finished
}

// stage is a backend with three volumes, one of them attached, and a snapshot, and
// the refs that scenes use.
type stage struct {
	*testing.T
	dir                              string
	b                                *Backend
	vol, bare, used, snap, new, copy string
}

var text = []byte("bytes that must not change")

// fastDir is a folder in memory where there is one: these tests open hundreds
// of backends, and it is the order of the calls that counts.
func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "blockconsole-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newStage(t *testing.T, hook func(op, string) error) *stage {
	t.Helper()
	s := &stage{T: t, dir: fastDir(t), vol: newRef(t), bare: newRef(t), used: newRef(t), snap: newRef(t), new: newRef(t), copy: newRef(t)}
	s.b = open(t, served(t, Options{Dir: s.dir, hook: hook}))
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
func (s *stage) reopen() {
	s.Helper()
	s.b.Close()
	s.b = open(s.T, served(s.T, Options{Dir: s.dir}))
	settle(s.T, s.b)
}

func (s *stage) volume(ref string) (backend.Volume, bool) {
	v, err := s.b.Volume(context.Background(), backend.Key{Ref: ref})
	return v, err == nil
}

func (s *stage) snapshot(ref string) (backend.Snapshot, bool) {
	v, err := s.b.Snapshot(context.Background(), backend.Key{Ref: ref})
	return v, err == nil
}

var scenes = []scene{
	{"create volume", func(s *stage) error {
		_, err := s.b.CreateVolume(context.Background(), backend.VolumeSpec{Ref: s.new, Name: "new", SizeGiB: 1})
		return err
	}, func(s *stage) bool { v, ok := s.volume(s.new); return ok && v.Status == backend.Available }},
	{"create snapshot", func(s *stage) error {
		_, err := s.b.CreateSnapshot(context.Background(), backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}})
		return err
	}, func(s *stage) bool { v, ok := s.snapshot(s.new); return ok && v.Status == backend.Available }},
	{"restore larger", func(s *stage) error {
		_, err := s.b.CreateVolume(context.Background(), backend.VolumeSpec{Ref: s.copy, SizeGiB: 2, Snapshot: &backend.Key{Ref: s.snap}})
		return err
	}, func(s *stage) bool { v, ok := s.volume(s.copy); return ok && v.Status == backend.Available }},
	{"rename volume", func(s *stage) error {
		return s.b.RenameVolume(context.Background(), backend.Key{Ref: s.vol}, "new", "")
	}, func(s *stage) bool { v, ok := s.volume(s.vol); return ok && v.Name == "new" }},
	{"rename snapshot", func(s *stage) error {
		return s.b.RenameSnapshot(context.Background(), backend.Key{Ref: s.snap}, "new", "")
	}, func(s *stage) bool { v, ok := s.snapshot(s.snap); return ok && v.Name == "new" }},
	{"extend", func(s *stage) error {
		return s.b.ExtendVolume(context.Background(), backend.Key{Ref: s.vol}, 3)
	}, func(s *stage) bool { v, ok := s.volume(s.vol); return ok && v.SizeGiB == 3 }},
	{"delete volume", func(s *stage) error {
		return s.b.DeleteVolume(context.Background(), backend.Key{Ref: s.bare})
	}, func(s *stage) bool { _, ok := s.volume(s.bare); return !ok }},
	{"delete snapshot", func(s *stage) error {
		return s.b.DeleteSnapshot(context.Background(), backend.Key{Ref: s.snap})
	}, func(s *stage) bool { _, ok := s.snapshot(s.snap); return !ok }},
	{"attach", func(s *stage) error {
		return s.b.AttachVolume(context.Background(), backend.Key{Ref: s.bare}, "there")
	}, func(s *stage) bool {
		v, ok := s.volume(s.bare)
		return ok && v.Status == backend.InUse && v.Attachments[0].ServerID == "there"
	}},
	{"detach", func(s *stage) error {
		return s.b.DetachVolume(context.Background(), backend.Key{Ref: s.used}, "here", false)
	}, func(s *stage) bool {
		v, ok := s.volume(s.used)
		// ERROR where the disk did not take what was written.
		return ok && (v.Status == backend.Available || v.Status == backend.ErrorStatus) && len(v.Attachments) == 0
	}},
}

// script decides call by call what the disk answers.
type script struct {
	mu     sync.Mutex
	n      int // calls since it was armed
	at     int // the call that fails; 0 = none
	err    error
	freeze bool // so does every later one
	log    []string
}

func (s *script) hook(o op, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if s.at > 0 && (s.n == s.at || s.freeze && s.n > s.at) {
		s.log = append(s.log, fmt.Sprintf("call %d: %s %s", s.n, o, filepath.Base(path)))
		return s.err
	}
	return nil
}

func (s *script) arm(at int, err error, freeze bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n, s.at, s.err, s.freeze, s.log = 0, at, err, freeze, nil
}

// calls counts what one scene asks of the disk.
func (sc scene) calls(t *testing.T) int {
	var sp script
	s := newStage(t, sp.hook)
	sp.arm(0, nil, false)
	s.drive(sc, 1)
	s.check(sc)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.n
}

// drive does what the worker does: ask, look, repair what cannot be deleted, and
// ask again.
func (s *stage) drive(sc scene, attempts int) {
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
				_ = s.b.RepairVolume(ctx, key, backend.ErrorStatus) // the next attempt tells
			}
			if v, ok := s.snapshot(ref); ok && v.Status == backend.ErrorDeleting {
				_ = s.b.RepairSnapshot(ctx, key, backend.ErrorStatus)
			}
		}
	}
	s.Fatalf("%s does not get done: %v", sc.name, err)
}

// check looks at everything after a scene has been finished.
func (s *stage) check(sc scene) {
	s.Helper()
	s.whole()
	for _, dir := range []string{"tmp", "trash", "quarantine"} {
		if left, err := os.ReadDir(filepath.Join(s.dir, dir)); err != nil || len(left) > 0 {
			s.Errorf("%s: %s still holds %v (%v)", sc.name, dir, left, err)
		}
	}
}

// whole checks that what is shown is on the disk, complete, and nothing else is.
func (s *stage) whole() {
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
			s.bytes("volumes", v.Ref, v.SizeGiB, v.Ref == s.vol || v.Ref == s.copy)
		}
	}
	for _, v := range snaps.Items {
		if v.Status == backend.Available {
			seen["snapshots/"+v.Ref] = true
			s.bytes("snapshots", v.Ref, v.SizeGiB, true)
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

func (s *stage) failed(ref string) bool {
	v, ok := s.volume(ref)
	n, okS := s.snapshot(ref)
	return ok && v.Status != backend.Available || okS && n.Status != backend.Available
}

func (s *stage) bytes(kind, ref string, sizeGiB int, filled bool) {
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

var errFrozen = errors.New("the process has died")

// TestKilledAtEveryCall freezes the disk before each call that a change makes,
// which is what a kill leaves, opens the folder anew and goes on as the worker
// would.
func TestKilledAtEveryCall(t *testing.T) {
	for _, sc := range scenes {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			n := sc.calls(t)
			if n < 5 {
				t.Fatalf("only %d calls to the disk", n)
			}
			for at := 1; at <= n; at++ {
				var sp script
				s := newStage(t, sp.hook)
				sp.arm(at, errFrozen, true)
				_ = sc.do(s) // may fail: its answer never arrives
				settle(t, s.b)
				s.reopen()
				s.check(sc) // even if nobody ever asks again
				s.drive(sc, 2)
				s.check(sc)
				if t.Failed() {
					t.Fatalf("killed at call %d of %d: %v", at, n, sp.log[:1])
				}
				s.b.Close()
			}
		})
	}
}

// TestEveryCallFails lets one call after the other fail once, and expects that
// the same process gets the change done all the same, and that the next one
// finds everything in order.
func TestEveryCallFails(t *testing.T) {
	for _, sc := range scenes {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			t.Run(strings.ReplaceAll(sc.name, " ", "_")+"_"+errno.Error(), func(t *testing.T) {
				n := sc.calls(t)
				for at := 1; at <= n; at++ {
					var sp script
					s := newStage(t, sp.hook)
					sp.arm(at, errno, false)
					s.drive(sc, 6)
					s.whole()
					sp.arm(0, nil, false)
					s.reopen()
					if !sc.done(s) {
						t.Error("undone after a restart")
					}
					s.check(sc)
					if t.Failed() {
						t.Fatalf("failed at call %d of %d: %v", at, n, sp.log)
					}
					s.b.Close()
				}
			})
		}
	}
}

// TestDiskDiesAndRecovers lets every call fail from one on, as a file system does
// that turned read-only, and then lets the same process go on.
func TestDiskDiesAndRecovers(t *testing.T) {
	for _, sc := range scenes {
		t.Run(strings.ReplaceAll(sc.name, " ", "_"), func(t *testing.T) {
			n := sc.calls(t)
			for at := 1; at <= n; at++ {
				var sp script
				s := newStage(t, sp.hook)
				sp.arm(at, syscall.EROFS, true)
				err := sc.do(s)
				settle(t, s.b)
				if err == nil && sc.done(s) {
					t.Errorf("done although the disk died: %v", sp.log)
				}
				sp.arm(0, nil, false)
				s.drive(sc, 3)
				s.reopen()
				if !sc.done(s) {
					t.Error("undone after a restart")
				}
				s.check(sc)
				if t.Failed() {
					t.Fatalf("dead from call %d of %d", at, n)
				}
				s.b.Close()
			}
		})
	}
}
