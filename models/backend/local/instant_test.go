//go:build linux

package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/backend/local/nbd"
)

// copyingHarness is a harness whose attached volume vol is being copied into the snapshot
// new: its first run of data is copied, the copy waits with the second, which is at 300 MiB.
type copyingHarness struct {
	*harness
	gate   *copyGate
	volume backend.Key
	client *backendtest.NBD
}

func newCopyingHarness(t *testing.T) *copyingHarness {
	t.Helper()
	s, g := newGatedHarness(t)
	c := &copyingHarness{harness: s, gate: g, volume: backend.Key{Ref: s.vol}}
	if err := s.b.AttachVolume(t.Context(), c.volume, "here"); err != nil {
		t.Fatal(err)
	}
	c.client = useExport(t, s.b, s.vol)
	if _, err := s.b.CreateSnapshot(t.Context(), c.spec()); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	return c
}

func (c *copyingHarness) spec() backend.SnapshotSpec {
	return backend.SnapshotSpec{Ref: c.new, Name: "new", Volume: c.volume, Attached: true, Acknowledged: true}
}

// write writes other bytes at off, as the client does.
func (c *copyingHarness) write(off int64) {
	c.Helper()
	if _, err := c.client.WriteAt(bytes.Repeat([]byte("z"), 5000), off); err != nil {
		c.Error(err)
	}
}

// wantServed fails unless a client reads what write wrote at off.
func (c *copyingHarness) wantServed(off int64) {
	c.Helper()
	got := make([]byte, 5000)
	if _, err := useExport(c.T, c.b, c.vol).ReadAt(got, off); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("z"), 5000)) {
		c.Errorf("the server's bytes at %d are lost: %v", off, err)
	}
}

// wantInstant opens the gate and fails unless the snapshot has the bytes that the volume had
// at its instant.
func (c *copyingHarness) wantInstant() {
	c.Helper()
	close(c.gate.open)
	settle(c.T, c.b)
	sn, ok := c.snapshot(c.new)
	if !ok || sn.Status != backend.Available || sn.SizeGiB != 1 || sn.Consistency != backend.CrashConsistent || sn.Held == 0 {
		c.Fatalf("%+v", sn)
	}
	wantSameObject(c.T, c.b.path("snapshots", c.new, dataFile), c.b.path("snapshots", c.snap, dataFile))
}

func TestCreateSnapshot_TakenBeforeCopied(t *testing.T) {
	t.Parallel()
	before := time.Now()
	s := newCopyingHarness(t)
	sn, err := s.b.CreateSnapshot(t.Context(), s.spec())
	if err != nil || sn.Status != backend.Creating || sn.Percent < 0 || sn.TakenAt.Before(before) || sn.TakenAt.After(time.Now()) || sn.Consistency != backend.CrashConsistent {
		t.Errorf("%+v, %v", sn, err)
	}
	s.wantInstant()
	if again, _ := s.snapshot(s.new); !again.TakenAt.Equal(sn.TakenAt) {
		t.Errorf("taken at %s, then at %s", sn.TakenAt, again.TakenAt)
	}
}

func TestCreateSnapshot_SecondMeanwhile(t *testing.T) {
	t.Parallel()
	s := newCopyingHarness(t)
	second := s.spec()
	second.Ref = newRef(t)
	_, err := s.b.CreateSnapshot(t.Context(), second)
	if e := backend.AsError(err, backend.CodeUnavailable); e == nil || e.Why != backend.WhyCopying || e.RetryAfter == 0 {
		t.Errorf("%v", err)
	}
	if _, made := s.snapshot(second.Ref); made {
		t.Error("something was made")
	}
	s.wantInstant()
	if _, err := s.b.CreateSnapshot(t.Context(), second); err != nil {
		t.Error(err)
	}
}

// A lock that is set in the middle is in the folder that the copy becomes.
func TestSetLock_Copying(t *testing.T) {
	t.Parallel()
	s := newCopyingHarness(t)
	lock := backend.Lock{Until: s.b.now().Add(time.Hour).UTC().Round(0), Reason: "audit", By: "kim", At: s.b.now().UTC().Round(0)}
	if err := s.b.SetLock(t.Context(), backend.SubjectSnapshot, backend.Key{Ref: s.new}, lock); err != nil {
		t.Fatal(err)
	}
	s.wantInstant()
	stored, err := readMeta(s.b.path("snapshots", s.new), snapshots, s.new)
	if sn, _ := s.snapshot(s.new); err != nil || stored.lock() != lock || sn.Lock != lock || stored.TakenAt.IsZero() {
		t.Errorf("%+v %+v %v", stored, sn.Lock, err)
	}
}

// Detaching, attaching again and extending in the middle change nothing of the snapshot.
func TestCreateSnapshot_DetachExtendMeanwhile(t *testing.T) {
	t.Parallel()
	for name, force := range map[string]bool{"detach": false, "force": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newCopyingHarness(t)
			s.write(0)
			if !force {
				s.client.Close()
			}
			if err := s.b.DetachVolume(t.Context(), s.volume, "here", force); err != nil {
				t.Fatal(err)
			}
			waitStatus(t, s.b, s.vol, backend.Available)
			if err := s.b.DeleteVolume(t.Context(), s.volume); backend.AsError(err, backend.CodeBusy) == nil {
				t.Errorf("deleted in the middle: %v", err)
			}
			if err := s.b.ExtendVolume(t.Context(), s.volume, 2); err != nil {
				t.Fatal(err)
			}
			if err := s.b.AttachVolume(t.Context(), s.volume, "near"); err != nil {
				t.Fatal(err)
			}
			s.client = useExport(t, s.b, s.vol)
			s.write(gib - 5000)
			s.write(gib - 2000)
			s.write(gib + 4096)
			s.write(500 << 20)
			s.wantInstant()
			s.wantServed(gib + 4096)
			s.wantServed(gib - 2000)
		})
	}
}

// Deleting the snapshot lets a write go on that waits for its copy.
func TestDeleteSnapshot_Copying(t *testing.T) {
	t.Parallel()
	s := newCopyingHarness(t)
	var waits sync.WaitGroup
	waits.Go(func() { s.write(300 << 20) })
	if err := s.b.DeleteSnapshot(t.Context(), backend.Key{Ref: s.new}); err != nil {
		t.Fatal(err)
	}
	waits.Wait()
	close(s.gate.open)
	settle(t, s.b)
	if sn, there := s.snapshot(s.new); there {
		t.Errorf("%+v", sn)
	}
	s.wantServed(300 << 20)
	s.wantClean(scenario{name: "deleted in the middle"})
}

// Closing in the middle ends the copy and not the writes; the next process takes the
// snapshot at an instant of its own.
func TestClose_Copying(t *testing.T) {
	t.Parallel()
	s := newCopyingHarness(t)
	first, _ := s.snapshot(s.new)
	var closing sync.WaitGroup
	closing.Go(func() { s.b.Close() })
	<-s.b.ctx.Done()
	s.write(300 << 20)
	close(s.gate.open)
	closing.Wait()
	s.reopen()
	s.wantServed(300 << 20)
	s.wantClean(scenario{name: "closed in the middle"})
	if sn, there := s.snapshot(s.new); there {
		t.Errorf("half a snapshot: %+v", sn)
	}
	if _, err := s.b.CreateSnapshot(t.Context(), s.spec()); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	if sn, _ := s.snapshot(s.new); sn.Status != backend.Available || !sn.TakenAt.After(first.TakenAt) {
		t.Errorf("taken at %s, and before at %s: %+v", sn.TakenAt, first.TakenAt, sn)
	}
	wantSameObject(t, s.b.path("snapshots", s.new, dataFile), s.b.path("volumes", s.vol, dataFile))
}

// What goes wrong on the snapshot's side ends the snapshot and no write of a server.
func TestCreateSnapshot_BrokenMeanwhile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error // of a piece of the copy; nil: it takes too long
		want func(*backend.Error) bool
	}{
		{"full", syscall.ENOSPC, func(e *backend.Error) bool { return e.Code == backend.CodeNoSpace && e.Need > 0 && e.Free > 0 }},
		{"no room", nbd.ErrNoRoom, func(e *backend.Error) bool { return e.Code == backend.CodeNoSpace && e.Need > 0 }},
		{"disk error", syscall.EIO, func(e *backend.Error) bool { return e.Code == backend.CodeFault && e.Cause == backend.DiskError }},
		{"too slow", nil, func(e *backend.Error) bool { return e.Code == backend.CodeSlow && e.Waited > e.Most }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			g := newCopyGate()
			s := newHarness(t, func(o op, path string) error {
				switch {
				case o == opClone:
					return syscall.EOPNOTSUPP
				case o != opCopy || !failing.Load():
					return nil
				case tt.err != nil:
					g.reached <- path
				}
				<-g.open
				return tt.err
			})
			s.b.saveLimit = 20 * time.Millisecond
			if tt.err != nil {
				s.b.saveLimit = time.Hour
			}
			c := &copyingHarness{harness: s, gate: g, volume: backend.Key{Ref: s.vol}}
			if err := s.b.AttachVolume(t.Context(), c.volume, "here"); err != nil {
				t.Fatal(err)
			}
			c.client = useExport(t, s.b, s.vol)
			failing.Store(true)
			if _, err := s.b.CreateSnapshot(t.Context(), c.spec()); err != nil {
				t.Fatal(err)
			}
			if tt.err != nil {
				<-g.reached
				close(g.open)
			}
			for _, off := range []int64{0, 300 << 20, 500 << 20, gib - 5000} {
				c.write(off)
			}
			if tt.err == nil {
				close(g.open)
			}
			settle(t, s.b)
			sn, _ := s.snapshot(s.new)
			if e := backend.AsError(sn.Failure); sn.Status != backend.ErrorStatus || e == nil || !tt.want(e) {
				t.Errorf("%+v", sn)
			}
			for _, off := range []int64{0, 300 << 20, 500 << 20, gib - 5000} {
				c.wantServed(off)
			}
			if left, err := os.ReadDir(s.b.path("tmp")); err != nil || len(left) > 0 {
				t.Errorf("the partial file stays: %v %v", left, err)
			}
			failing.Store(false)
			if _, err := s.b.CreateSnapshot(t.Context(), c.spec()); err != nil {
				t.Fatal(err)
			}
			settle(t, s.b)
			wantSameObject(t, s.b.path("snapshots", s.new, dataFile), s.b.path("volumes", s.vol, dataFile))
		})
	}
}

// A hold that ended too early is no instant: the snapshot begins again, but not for ever.
func TestTakeMoment_Expired(t *testing.T) {
	t.Parallel()
	b, ref := attachedVolume(t, memDir(t), withoutReflink)
	b.mu.Lock()
	volume := b.volumes.byRef[ref]
	e := volume.export
	e.nbd = nbd.NewExport(ref, e.dev, nbd.ExportOptions{MaxQuiesce: 10 * time.Millisecond})
	b.mu.Unlock()
	c := useExport(t, b, ref)
	for _, expire := range []int{0, 1, instantTries} {
		o, j := &object{meta: meta{Kind: snapshots}}, &job{instant: make(chan struct{})}
		taken, undone := 0, 0
		err := b.takeMoment(context.Background(), o, j, source{object: volume}, moment{
			prepare: func() error { return nil },
			take: func(size int64) error {
				if taken++; taken <= expire { // the write waits for the end of the hold
					if _, err := c.WriteAt(text, 0); err != nil {
						t.Error(err)
					}
				}
				return nil
			},
			undo: func() error { undone++; return nil },
		})
		if expired := errors.Is(err, nbd.ErrQuiesceExpired); expired != (expire == instantTries) || err != nil && !expired || undone != expire {
			t.Errorf("%d holds expired, %d were undone: %v", expire, undone, err)
		}
		if o.meta.TakenAt.IsZero() != (err != nil) {
			t.Errorf("taken at %s, %v", o.meta.TakenAt, err)
		}
	}
}

// A volume that is attached or detached before the hold was not looked at as it is then.
func TestTakeMoment_DetachedBefore(t *testing.T) {
	t.Parallel()
	b, ref := attachedVolume(t, memDir(t), withoutReflink)
	b.mu.Lock()
	volume := b.volumes.byRef[ref]
	b.mu.Unlock()
	o, j, taken := &object{meta: meta{Kind: snapshots}}, &job{instant: make(chan struct{})}, 0
	err := b.takeMoment(context.Background(), o, j, source{object: volume}, moment{
		prepare: func() error {
			if err := b.DetachVolume(t.Context(), backend.Key{Ref: ref}, "here", true); err != nil {
				return err
			}
			return waitJobs(t.Context(), b)
		},
		take: func(int64) error { taken++; return nil },
		undo: func() error { t.Error("nothing was taken yet"); return nil },
	})
	if err != nil || taken != 1 || o.meta.Consistency != backend.Clean || o.meta.Held != 0 {
		t.Errorf("taken %d times, %+v, %v", taken, o.meta, err)
	}
}
