package backendtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"blockconsole/models/backend"
)

// Fixture is one backend under test and what the suite may do with it. Backend
// and Settle are required; a nil function skips the tests that need it.
type Fixture struct {
	Backend backend.Backend
	// Settle lets work go on: it blocks until something may have changed, or
	// moves a settable clock. The suite calls it between looks.
	Settle func(context.Context) error

	// Keeps tells what the backend makes of a text that is given as the name or the
	// description (field) of an object; ok is false when it refuses the text with an
	// CodeInvalid of that field. Nil: every text comes back as it was given.
	Keeps func(subject backend.Subject, field, text string) (kept string, ok bool)

	Project, Type string // of the objects that the suite makes
	// Servers are registered, for backends with the capability OwnServers; the
	// others list theirs.
	Servers []backend.RegisteredServer
	// Image is an image of the backend, and ImageBytes its beginning.
	Image      string
	ImageBytes []byte

	WriteVolume func(key backend.Key, offset int64, p []byte) error
	ReadVolume  func(key backend.Key, offset int64, n int) ([]byte, error)
	// Reopen ends the backend and opens it again over the same storage.
	Reopen func() backend.Backend
}

// looks bounds how often the suite looks at an object before it calls the
// backend stuck.
const looks = 10000

// Run checks that a backend keeps the promises of the port. factory makes a
// fresh fixture for each test; the backend behind it may hold other objects.
func Run(t *testing.T, factory func(t *testing.T) Fixture) {
	tests := []struct {
		name string
		test func(*suite)
	}{
		{"capabilities", (*suite).capabilities},
		{"create volume", (*suite).createVolume},
		{"create snapshot", (*suite).createSnapshot},
		{"create refuses", (*suite).createRefuses},
		{"create twice at once makes one", (*suite).createTwice},
		{"find by id and by ref", (*suite).find},
		{"unknown objects", (*suite).unknown},
		{"names of every kind", (*suite).names},
		{"rename", (*suite).rename},
		{"pages", (*suite).pages},
		{"extend", (*suite).extend},
		{"delete", (*suite).delete},
		{"delete what others need", (*suite).busy},
		{"restored bytes", (*suite).restore},
		{"image bytes", (*suite).image},
		{"attach and detach", (*suite).attach},
		{"change while attached", (*suite).changeAttached},
		{"reopen while attached", (*suite).reopenAttached},
		{"revert", (*suite).revert},
		{"repair", (*suite).repair},
		{"cancelled context", (*suite).cancelled},
		{"reopen keeps everything", (*suite).reopen},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			t.Cleanup(cancel)
			s := &suite{T: t, Fixture: factory(t), ctx: ctx}
			caps, err := s.Backend.Capabilities(ctx)
			if err != nil {
				t.Fatal("capabilities:", err)
			}
			s.caps = caps
			t.Cleanup(s.sweep)
			tt.test(s)
		})
	}
}

type suite struct {
	*testing.T
	Fixture
	ctx  context.Context
	caps backend.Capabilities

	mu        sync.Mutex
	volumes   []backend.Key // made by the test, to be deleted after it
	snapshots []backend.Key
}

func newRef() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // no randomness: nothing can be tested
	}
	return id.String()
}

// sweep deletes what the test made, so that a backend which outlives it, such
// as a cloud, stays clean. What others depend on goes in a later round.
func (s *suite) sweep() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s.ctx = ctx
	for range 3 {
		s.snapshots = slices.DeleteFunc(s.snapshots, func(k backend.Key) bool {
			return s.removed(s.Backend.DeleteSnapshot(ctx, k), func() (backend.State, error) {
				sn, err := s.Backend.Snapshot(ctx, k)
				return sn.State, err
			})
		})
		s.volumes = slices.DeleteFunc(s.volumes, func(k backend.Key) bool {
			return s.removed(s.Backend.DeleteVolume(ctx, k), func() (backend.State, error) {
				v, err := s.Backend.Volume(ctx, k)
				return v.State, err
			})
		})
	}
	if ctx.Err() != nil {
		s.Errorf("left behind: volumes %v, snapshots %v", s.volumes, s.snapshots)
	}
}

// removed waits for the end of a deletion that was answered with err.
func (s *suite) removed(err error, look func() (backend.State, error)) bool {
	for range looks {
		if err != nil {
			return false
		}
		st, lookErr := look()
		if lookErr != nil || st.Status != backend.Deleting || s.Settle(s.ctx) != nil {
			return errors.Is(lookErr, backend.ErrNotFound)
		}
	}
	return false
}

func (s *suite) spec(name string) backend.VolumeSpec {
	return backend.VolumeSpec{Ref: newRef(), Name: name, SizeGiB: 1, Project: s.Project, Type: s.Type}
}

// newVolume makes a volume and waits until it is AVAILABLE.
func (s *suite) newVolume(spec backend.VolumeSpec) backend.Volume {
	s.Helper()
	v, err := s.Backend.CreateVolume(s.ctx, spec)
	s.ok("create volume", err)
	s.volumes = append(s.volumes, v.Key)
	return s.volumeIs(v.Key, backend.Available)
}

// newSnapshot makes a snapshot and waits until it is AVAILABLE.
func (s *suite) newSnapshot(volume backend.Key, name string) backend.Snapshot {
	s.Helper()
	sn, err := s.Backend.CreateSnapshot(s.ctx, backend.SnapshotSpec{Ref: newRef(), Name: name, Volume: volume, Project: s.Project})
	s.ok("create snapshot", err)
	s.snapshots = append(s.snapshots, sn.Key)
	return s.snapshotIs(sn.Key, backend.Available)
}

func (s *suite) ok(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// transient statuses are left by waiting.
var transient = []backend.Status{
	backend.Creating, backend.Attaching, backend.Detaching, backend.Extending, backend.Restoring, backend.Deleting,
}

// until looks until the status is no transient one, and checks every state on
// the way.
func (s *suite) until(look func() (backend.State, error)) (backend.State, error) {
	s.Helper()
	for range looks {
		st, err := look()
		if err != nil {
			return st, err
		}
		if st.Percent < backend.PercentUnknown || st.Percent > 100 {
			s.Fatalf("percent %d", st.Percent)
		}
		if !slices.Contains(transient, st.Status) {
			return st, nil
		}
		s.ok("settle", s.Settle(s.ctx))
	}
	s.Fatal("the status never became final")
	return backend.State{}, nil
}

func (s *suite) volumeIs(key backend.Key, want backend.Status) backend.Volume {
	s.Helper()
	var v backend.Volume
	st, err := s.until(func() (_ backend.State, err error) {
		v, err = s.Backend.Volume(s.ctx, key)
		return v.State, err
	})
	if err != nil || st.Status != want {
		s.Fatalf("volume is %s (%v, error %v), want %s", st.Status, st.Failure, err, want)
	}
	return v
}

func (s *suite) snapshotIs(key backend.Key, want backend.Status) backend.Snapshot {
	s.Helper()
	var sn backend.Snapshot
	st, err := s.until(func() (_ backend.State, err error) {
		sn, err = s.Backend.Snapshot(s.ctx, key)
		return sn.State, err
	})
	if err != nil || st.Status != want {
		s.Fatalf("snapshot is %s (%v, error %v), want %s", st.Status, st.Failure, err, want)
	}
	return sn
}

func (s *suite) volumeGone(key backend.Key) {
	s.Helper()
	st, err := s.until(func() (backend.State, error) {
		v, err := s.Backend.Volume(s.ctx, key)
		return v.State, err
	})
	s.isGone(st, err)
}

func (s *suite) snapshotGone(key backend.Key) {
	s.Helper()
	st, err := s.until(func() (backend.State, error) {
		sn, err := s.Backend.Snapshot(s.ctx, key)
		return sn.State, err
	})
	s.isGone(st, err)
}

func (s *suite) isGone(st backend.State, err error) {
	s.Helper()
	if !errors.Is(err, backend.ErrNotFound) {
		s.Fatalf("still there as %s (%v), error %v", st.Status, st.Failure, err)
	}
}

// allVolumes walks the pages, limit at a time.
func (s *suite) allVolumes(limit int) []backend.Volume {
	s.Helper()
	return walk(s, limit, s.Backend.Volumes, func(v backend.Volume) string { return v.ID })
}

func (s *suite) allSnapshots(limit int) []backend.Snapshot {
	s.Helper()
	return walk(s, limit, s.Backend.Snapshots, func(sn backend.Snapshot) string { return sn.ID })
}

func walk[T any](s *suite, limit int, list func(context.Context, string, int) (backend.Page[T], error), id func(T) string) []T {
	s.Helper()
	var all []T
	seen := map[string]bool{}
	for marker := ""; ; {
		p, err := list(s.ctx, marker, limit)
		s.ok("list", err)
		if len(p.Items) > limit {
			s.Fatalf("a page of %d, asked for %d", len(p.Items), limit)
		}
		for _, item := range p.Items {
			if seen[id(item)] {
				s.Fatalf("%s is listed twice", id(item))
			}
			seen[id(item)] = true
		}
		all = append(all, p.Items...)
		if p.Next == "" {
			return all
		}
		if p.Next == marker || len(p.Items) == 0 {
			s.Fatalf("the listing does not advance after %q", marker)
		}
		marker = p.Next
	}
}
