//go:build linux

package local

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

// testNumber is the number in an environment variable, or otherwise.
func testNumber(t testing.TB, variable string, otherwise uint64) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(cmp.Or(os.Getenv(variable), strconv.FormatUint(otherwise, 10)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// instantFileSystems are those on which a snapshot of a volume in use is of one instant.
var instantFileSystems = map[string]func(t testing.TB) string{
	"ext4":  func(t testing.TB) string { return ext4(t, 3*gib) },
	"xfs":   func(t testing.TB) string { return xfs(t, 3*gib) },
	"tmpfs": memDir,
}

// served is a volume under load, and what was written to it.
type served struct {
	t    testing.TB
	b    *Backend
	ref  string
	load *backendtest.Load
}

const (
	loadConnections = 4
	loadFrom        = 4 * mib // what lies before that is not written
	loadSpan        = 36 * mib
)

// newServed makes a volume with data all over the span of its load.
func newServed(t testing.TB, b *Backend, seed uint64) *served {
	t.Helper()
	s := &served{t: t, b: b, ref: newRef(t), load: &backendtest.Load{History: backendtest.NewHistory(gib), From: loadFrom, Span: loadSpan, Seed: seed}}
	if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: s.ref, Name: "served", SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	s.attach()
	if err := s.load.Prefill(s.dial(), 16*mib); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *served) attach() {
	s.t.Helper()
	if err := s.b.AttachVolume(context.Background(), backend.Key{Ref: s.ref}, "here"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *served) dial() *backendtest.NBD {
	s.t.Helper()
	c, err := backendtest.DialNBD(context.Background(), s.b.nbd.address, "127.0.0.1", nil)
	if err == nil {
		err = c.Use(s.ref)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *served) start() {
	s.t.Helper()
	var connections []*backendtest.NBD
	for range loadConnections {
		connections = append(connections, s.dial())
	}
	s.load.Start(connections...)
}

// snapshot takes a snapshot and checks that it is the volume at the instant that it says.
func (s *served) snapshot() error {
	key := backend.Key{Ref: newRef(s.t)}
	if _, err := s.b.CreateSnapshot(s.t.Context(), backend.SnapshotSpec{Ref: key.Ref, Volume: backend.Key{Ref: s.ref}}); err != nil {
		return err
	}
	return s.whole(key)
}

// whole waits for the snapshot, checks it, and deletes it.
func (s *served) whole(key backend.Key) error {
	if err := waitJobs(s.t.Context(), s.b); err != nil {
		return err
	}
	sn, err := s.b.Snapshot(s.t.Context(), key)
	if err == nil && sn.Status != backend.Available {
		err = sn.Failure
	}
	if err == nil {
		err = s.load.History.Check(s.b.path("snapshots", key.Ref, dataFile), sn.TakenAt, sn.TakenAt)
	}
	if err != nil {
		return err
	}
	return s.b.DeleteSnapshot(s.t.Context(), key)
}

// end stops the load and checks that the volume holds everything that was answered.
func (s *served) end() {
	s.t.Helper()
	if err := s.load.Stop(); err != nil {
		s.t.Error(err)
	}
	now := time.Now()
	if err := s.load.History.Check(s.b.path("volumes", s.ref, dataFile), now, now); err != nil {
		s.t.Error("the volume:", err)
	}
}

// TestInstant takes snapshots of two volumes at once while servers write to them as they
// may: each is its volume at one instant, and the volumes hold everything that was
// answered.
//
// BLOCKCONSOLE_TEST_INSTANTS is the number of snapshots of each, BLOCKCONSOLE_TEST_SEED
// repeats the requests of an earlier run.
func TestInstant(t *testing.T) {
	rounds, seed := testNumber(t, "BLOCKCONSOLE_TEST_INSTANTS", 3), testNumber(t, "BLOCKCONSOLE_TEST_SEED", uint64(time.Now().UnixNano()))
	t.Logf("seed %d", seed)
	for name, folder := range instantFileSystems {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t, withNBD(t, Options{Dir: filepath.Join(folder(t), "data")}))
			var both sync.WaitGroup
			for i := range uint64(2) {
				s := newServed(t, b, seed+i)
				s.start()
				both.Go(func() {
					for range rounds {
						if err := s.snapshot(); err != nil {
							t.Errorf("volume %d after %d requests: %v", i, s.load.History.Len(), err)
							break
						}
					}
					s.end()
				})
			}
			both.Wait()
		})
	}
}

// TestInstant_AttachedMeanwhile attaches, detaches and attaches a volume again while it is
// copied, which is held up until servers have written to it both times.
func TestInstant_AttachedMeanwhile(t *testing.T) {
	t.Parallel()
	var held atomic.Bool
	copying, goOn := make(chan struct{}), make(chan struct{})
	b := open(t, withNBD(t, Options{Dir: memDir(t), hook: func(o op, _ string) error {
		if o == opCopy && held.CompareAndSwap(true, false) { // a piece that no server writes to
			close(copying)
			<-goOn
		}
		return nil
	}}))
	s := newServed(t, b, 1)
	if _, err := s.dial().WriteAt(make([]byte, mib), 0); err != nil {
		t.Fatal(err)
	}
	s.detach()
	held.Store(true)
	key := backend.Key{Ref: newRef(t)}
	sn, err := b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: key.Ref, Volume: backend.Key{Ref: s.ref}})
	if err != nil {
		t.Fatal(err)
	}
	<-copying
	for range 2 {
		s.attach()
		s.writeSome()
		s.detach()
	}
	if sn, err = b.Snapshot(t.Context(), key); err != nil || sn.Status != backend.Creating || sn.TakenAt.IsZero() || sn.Consistency != backend.Clean {
		t.Errorf("%+v %v", sn, err)
	}
	s.attach()
	s.start()
	close(goOn)
	if err := s.whole(key); err != nil {
		t.Error(err)
	}
	s.end()
}

func (s *served) detach() {
	s.t.Helper()
	if err := s.b.DetachVolume(context.Background(), backend.Key{Ref: s.ref}, "here", true); err != nil {
		s.t.Fatal(err)
	}
	waitStatus(s.t, s.b, s.ref, backend.Available)
}

// writeSome writes until some requests are answered.
func (s *served) writeSome() {
	s.t.Helper()
	enough, left := make(chan struct{}), atomic.Int64{}
	left.Store(60)
	s.load.Answered = func() {
		if left.Add(-1) == 0 {
			close(enough)
		}
	}
	s.start()
	<-enough
	if err := s.load.Stop(); err != nil {
		s.t.Fatal(err)
	}
	s.load.Answered = nil
}
