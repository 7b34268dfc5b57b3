//go:build linux

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

// gate stops each copy at its second step until it is opened, and tells of each
// one that has come that far.
type gate struct {
	reached chan string
	open    chan struct{}
	mu      sync.Mutex
	steps   map[string]int
}

func newGate() *gate {
	return &gate{reached: make(chan string, 16), open: make(chan struct{}), steps: map[string]int{}}
}

func (g *gate) hook(o op, path string) error {
	if o == opClone {
		return syscall.EOPNOTSUPP
	}
	if o != opCopy {
		return nil
	}
	g.mu.Lock()
	g.steps[path]++
	second := g.steps[path] == 2
	g.mu.Unlock()
	if second {
		g.reached <- path
		<-g.open
	}
	return nil
}

// gated is a stage whose copies wait at a gate from now on.
func gated(t *testing.T) (*stage, *gate) {
	g := newGate()
	var on atomic.Bool
	s := newStage(t, func(o op, path string) error {
		if on.Load() {
			return g.hook(o, path)
		}
		return nil
	})
	on.Store(true)
	t.Cleanup(func() { // before Close, which waits for the copies
		select {
		case <-g.open:
		default:
			close(g.open)
		}
	})
	return s, g
}

func TestCopyUnderWay(t *testing.T) {
	ctx := context.Background()
	s, g := gated(t)
	spec := backend.VolumeSpec{Ref: s.copy, Name: "first name", SizeGiB: 2, Snapshot: &backend.Key{Ref: s.snap}}
	v, err := s.b.CreateVolume(ctx, spec)
	if err != nil || v.Status != backend.Creating {
		t.Fatalf("%+v %v", v, err)
	}
	<-g.reached
	v, _ = s.volume(s.copy)
	if v.Status != backend.Creating || v.Percent <= 0 || v.Percent >= 100 {
		t.Errorf("half way it is %s at %d %%", v.Status, v.Percent)
	}
	if again, err := s.b.CreateVolume(ctx, spec); err != nil || again.Key != v.Key || again.Status != backend.Creating {
		t.Errorf("the same create meanwhile: %+v %v", again, err)
	}
	var busy *backend.Error
	if err := s.b.DeleteSnapshot(ctx, backend.Key{Ref: s.snap}); !errors.As(err, &busy) || busy.Code != backend.CodeBusy || busy.Dependents[0].Ref != s.copy {
		t.Errorf("deleting what is being copied: %v", err)
	}
	if err := s.b.RepairVolume(ctx, v.Key, backend.ErrorStatus); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("repairing what works: %v", err)
	}
	if err := s.b.ExtendVolume(ctx, v.Key, 3); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("extending what is being made: %v", err)
	}
	if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: newRef(t), Volume: v.Key}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("a snapshot of what is being made: %v", err)
	}
	if err := s.b.RenameVolume(ctx, v.Key, "second name", "text"); err != nil {
		t.Error(err)
	}
	close(g.open)
	settle(t, s.b)
	s.b.Close()
	s.b = open(t, Options{Dir: s.dir})
	v, _ = s.volume(s.copy)
	if v.Status != backend.Available || v.Name != "second name" || v.Description != "text" {
		t.Errorf("%+v", v)
	}
	s.check(scene{name: "copy"})
	if err := s.b.DeleteSnapshot(ctx, backend.Key{Ref: s.snap}); err != nil {
		t.Errorf("a finished copy needs its snapshot no more: %v", err)
	}
}

func TestVolumeIsBusyWhileASnapshotIsTaken(t *testing.T) {
	ctx := context.Background()
	s, g := gated(t)
	if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	var busy *backend.Error
	if err := s.b.DeleteVolume(ctx, backend.Key{Ref: s.vol}); !errors.As(err, &busy) || busy.Code != backend.CodeBusy || len(busy.Dependents) != 2 {
		t.Errorf("%v", err)
	}
	if err := s.b.ExtendVolume(ctx, backend.Key{Ref: s.vol}, 2); err != nil {
		t.Errorf("growing meanwhile: %v", err)
	}
	close(g.open)
	settle(t, s.b)
	if n, ok := s.snapshot(s.new); !ok || n.Status != backend.Available || n.SizeGiB != 1 {
		t.Errorf("%+v", n)
	}
	s.check(scene{name: "snapshot"})
}

func TestOnlyTwoCopiesRunAtOnce(t *testing.T) {
	ctx := context.Background()
	s, g := gated(t)
	refs := []string{newRef(t), newRef(t), newRef(t)}
	for _, ref := range refs {
		if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: ref, Volume: backend.Key{Ref: s.vol}}); err != nil {
			t.Fatal(err)
		}
	}
	<-g.reached
	<-g.reached
	waiting := 0
	for _, ref := range refs {
		n, ok := s.snapshot(ref)
		if !ok || n.Status != backend.Creating {
			t.Errorf("%+v", n)
		}
		if n.Percent == backend.PercentUnknown {
			waiting++
		}
	}
	if waiting != 1 {
		t.Errorf("%d copies wait for their turn", waiting)
	}
	close(g.open)
	settle(t, s.b)
	for _, ref := range refs {
		if n, _ := s.snapshot(ref); n.Status != backend.Available || n.Percent != 100 {
			t.Errorf("%+v", n)
		}
	}
}

func TestDeleteGivesUpACreation(t *testing.T) {
	ctx := context.Background()
	s, g := gated(t)
	key := backend.Key{Ref: s.new}
	if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	if err := s.b.DeleteSnapshot(ctx, key); err != nil {
		t.Fatal(err)
	}
	if n, _ := s.snapshot(s.new); n.Status != backend.Deleting {
		t.Errorf("%+v", n)
	}
	close(g.open)
	settle(t, s.b)
	if _, ok := s.snapshot(s.new); ok {
		t.Error("still there")
	}
	s.check(scene{name: "given up"})
}

func TestCloseEndsCopies(t *testing.T) {
	ctx := context.Background()
	s, g := gated(t)
	if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	closed := make(chan error)
	go func() { closed <- s.b.Close() }()
	<-s.b.ctx.Done()
	close(g.open)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if _, err := s.b.Volume(ctx, backend.Key{Ref: s.vol}); backend.AsError(err, backend.CodeUnavailable) == nil {
		t.Errorf("a closed backend answers %v", err)
	}
	s.b = open(t, Options{Dir: s.dir})
	if _, ok := s.snapshot(s.new); ok {
		t.Error("half a snapshot is shown")
	}
	s.check(scene{name: "closed"})
}

func TestFailedCreationIsToldAndTriedAgain(t *testing.T) {
	ctx := context.Background()
	var sp script
	s := newStage(t, sp.hook)
	sp.arm(3, syscall.EDQUOT, true)
	spec := backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}}
	if _, err := s.b.CreateSnapshot(ctx, spec); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	var space *backend.Error
	if n, _ := s.snapshot(s.new); n.Status != backend.ErrorStatus || !errors.As(n.Failure, &space) || space.Code != backend.CodeNoSpace || space.Need <= 0 || space.Free <= 0 {
		t.Fatalf("%+v", n)
	}
	if err := s.b.RepairSnapshot(ctx, backend.Key{Ref: s.new}, backend.Available); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("AVAILABLE without bytes: %v", err)
	}
	sp.arm(0, nil, false)
	if _, err := s.b.CreateSnapshot(ctx, spec); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if n, _ := s.snapshot(s.new); n.Status != backend.Available || n.Failure != nil {
		t.Errorf("%+v", n)
	}
	s.check(scene{name: "tried again"})
}

func TestFailedDeletionSurvivesARestart(t *testing.T) {
	ctx := context.Background()
	for _, refused := range []op{opRename, opUnlink} {
		t.Run(string(refused), func(t *testing.T) {
			var on atomic.Bool
			s := newStage(t, func(o op, path string) error {
				if on.Load() && o == refused && filepath.Base(path) != metaFile && filepath.Ext(path) != ".meta" {
					return syscall.EACCES
				}
				return nil
			})
			on.Store(true)
			key := backend.Key{Ref: s.snap}
			if err := s.b.DeleteSnapshot(ctx, key); err != nil {
				t.Fatal(err)
			}
			settle(t, s.b)
			s.b.Close()
			s.b = open(t, Options{Dir: s.dir})
			n, _ := s.snapshot(s.snap)
			if n.Status != backend.ErrorDeleting || n.Failure == nil || n.Name != "old" {
				t.Fatalf("%+v", n)
			}
			if err := s.b.DeleteSnapshot(ctx, key); backend.AsError(err, backend.CodeConflict) == nil {
				t.Errorf("deleting before a repair: %v", err)
			}
			if err := s.b.RepairSnapshot(ctx, key, backend.Available); err != nil {
				t.Fatal(err)
			}
			s.check(scene{name: "repaired"})
			s.b.Close()
			s.b = open(t, Options{Dir: s.dir})
			if n, _ := s.snapshot(s.snap); n.Status != backend.Available || n.Failure != nil {
				t.Errorf("%+v", n)
			}
			s.check(scene{name: "repaired and restarted"})
		})
	}
}

func TestWithoutItsFileNothingIsAvailable(t *testing.T) {
	ctx := context.Background()
	s := newStage(t, nil)
	if err := os.Remove(filepath.Join(s.dir, "snapshots", s.snap, dataFile)); err != nil {
		t.Fatal(err)
	}
	key := backend.Key{Ref: s.snap}
	if err := s.b.RepairSnapshot(ctx, key, backend.ErrorStatus); err != nil {
		t.Fatal(err)
	}
	if err := s.b.RepairSnapshot(ctx, key, backend.Available); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("%v", err)
	}
	if _, err := s.b.CreateVolume(ctx, backend.VolumeSpec{Ref: s.new, SizeGiB: 1, Snapshot: &key}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("%v", err)
	}
	if err := s.b.DeleteSnapshot(ctx, key); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	s.check(scene{name: "deleted"})
}

func TestForeignFileInAnObjectIsNotDeleted(t *testing.T) {
	s := newStage(t, nil)
	notes := filepath.Join(s.dir, "volumes", s.bare, "notes.txt")
	if err := os.WriteFile(notes, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.b.DeleteVolume(context.Background(), backend.Key{Ref: s.bare}); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	q, err := os.ReadDir(filepath.Join(s.dir, "quarantine"))
	if err != nil || len(q) != 1 {
		t.Fatal(q, err)
	}
	if got, err := os.ReadFile(filepath.Join(s.dir, "quarantine", q[0].Name(), "notes.txt")); err != nil || string(got) != "mine" {
		t.Errorf("%q %v", got, err)
	}
	if _, ok := s.volume(s.bare); ok {
		t.Error("the volume is still shown")
	}
}

func BenchmarkPageOf50(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			be := open(b, Options{Dir: b.TempDir()})
			middle := ""
			for i := range n {
				ref := newRef(b)
				be.volumes.add(&object{meta: meta{Kind: volumes, Ref: ref, SizeGiB: 1, Status: backend.Available}, location: published})
				if i == n/2 {
					middle = ref
				}
			}
			for b.Loop() {
				if p, err := be.Volumes(context.Background(), middle, 50); err != nil || len(p.Items) != 50 {
					b.Fatal(len(p.Items), err)
				}
			}
		})
	}
}
