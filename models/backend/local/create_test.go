//go:build linux

package local

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

// copyGate stops each copy at its second chunk until open is closed, and sends its path
// to reached.
type copyGate struct {
	reached chan string
	open    chan struct{}
	mu      sync.Mutex
	steps   map[string]int
}

func newCopyGate() *copyGate {
	return &copyGate{reached: make(chan string, 16), open: make(chan struct{}), steps: map[string]int{}}
}

func (g *copyGate) hook(o op, path string) error {
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

// newGatedHarness is a harness whose copies wait at a gate.
func newGatedHarness(t *testing.T) (*harness, *copyGate) {
	g := newCopyGate()
	var on atomic.Bool
	s := newHarness(t, func(o op, path string) error {
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

func TestCreateVolume_CopyUnderWay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, g := newGatedHarness(t)
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
	s.wantClean(scenario{name: "copy"})
	if err := s.b.DeleteSnapshot(ctx, backend.Key{Ref: s.snap}); err != nil {
		t.Errorf("a finished copy needs its snapshot no more: %v", err)
	}
}

func TestCreateVolume_MaxCopies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, g := newGatedHarness(t)
	refs := []string{newRef(t), newRef(t), newRef(t)}
	for _, ref := range refs {
		if _, err := s.b.CreateVolume(ctx, backend.VolumeSpec{Ref: ref, SizeGiB: 1, Snapshot: &backend.Key{Ref: s.snap}}); err != nil {
			t.Fatal(err)
		}
	}
	<-g.reached
	<-g.reached
	waiting := 0
	for _, ref := range refs {
		n, ok := s.volume(ref)
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
		if n, _ := s.volume(ref); n.Status != backend.Available || n.Percent != 100 {
			t.Errorf("%+v", n)
		}
	}
}

func TestCreateSnapshot_FailureAndRetry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var sp faultScript
	s := newHarness(t, sp.hook)
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
	s.wantClean(scenario{name: "tried again"})
}

func TestCreate_InvalidRefs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := open(t, Options{Dir: memDir(t)})
	for _, ref := range []string{"", ".", "..", "../../x", strings.Repeat("a", 36), strings.ToUpper(newRef(t)), newRef(t) + "/", "00000000-0000-0000-0000-00000000000\x00"} {
		if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: ref, SizeGiB: 1}); backend.AsError(err, backend.CodeInvalid) == nil {
			t.Errorf("%q: %v", ref, err)
		}
		if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: ref}); backend.AsError(err, backend.CodeInvalid) == nil {
			t.Errorf("%q: %v", ref, err)
		}
	}
	for _, name := range []string{strings.Repeat("n", 256), "\xff"} {
		var invalid *backend.Error
		if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1, Name: name}); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	one := newRef(t)
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: one, SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: one, Volume: backend.Key{Ref: one}}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("one ref for two: %v", err)
	}
}

func TestCreateSnapshot_ReflinkRefused(t *testing.T) {
	t.Parallel()
	for _, errno := range unsupportedErrnos {
		t.Run(errno.Error(), func(t *testing.T) {
			s := newHarness(t, func(o op, _ string) error {
				if o == opClone {
					return errno
				}
				return nil
			})
			s.wantConsistent()
		})
	}
}

// unsupportedErrnos make the backend copy in user space.
var unsupportedErrnos = []syscall.Errno{syscall.EXDEV, syscall.EINVAL, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.ENOTTY}

func TestClose_CopyUnderWay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, g := newGatedHarness(t)
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
	s.wantClean(scenario{name: "closed"})
}
