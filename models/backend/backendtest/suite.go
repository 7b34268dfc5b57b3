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

// Fixture is a backend under test. Backend and Settle are required; where another
// field is empty the tests that need it are skipped.
type Fixture struct {
	Backend backend.Backend
	// Settle advances work under way: it waits a little or moves a test clock. The suite calls it between polls.
	Settle func(context.Context) error

	// StoredText is how the backend stores a text as the name or description (field) of an object; ok is false
	// when it refuses the text with CodeInvalid. Nil: every text is stored unchanged.
	StoredText func(subject backend.SubjectType, field, text string) (stored string, ok bool)

	Project, Type string                     // of the objects that the suite makes
	Servers       []backend.RegisteredServer // for backends with the capability OwnServers
	Image         string                     // ID of an image
	ImageBytes    []byte                     // its first bytes

	WriteVolume func(key backend.Key, offset int64, p []byte) error        // offset in bytes
	ReadVolume  func(key backend.Key, offset int64, n int) ([]byte, error) // offset and n in bytes
	Reopen      func() backend.Backend                                     // restarts the backend over the same storage
}

// maxPolls is how often the suite polls an object before it fails.
const maxPolls = 10000

// Run checks that a backend conforms to the port. factory makes a new fixture for each
// test; other objects may exist in its backend.
func Run(t *testing.T, factory func(t *testing.T) Fixture) {
	tests := []struct {
		name string
		test func(*suite)
	}{
		{"capabilities", (*suite).capabilities},
		{"create volume", (*suite).createVolume},
		{"create snapshot", (*suite).createSnapshot},
		{"create invalid", (*suite).createInvalid},
		{"create concurrently", (*suite).createConcurrently},
		{"find by ID and by Ref", (*suite).find},
		{"missing objects", (*suite).missingObjects},
		{"names", (*suite).storedNames},
		{"rename", (*suite).rename},
		{"lock", (*suite).lock},
		{"pages", (*suite).pages},
		{"extend", (*suite).extend},
		{"delete", (*suite).delete},
		{"delete with dependents", (*suite).deleteBusy},
		{"restore bytes", (*suite).restore},
		{"create from image", (*suite).image},
		{"attach and detach", (*suite).attach},
		{"change while attached", (*suite).changeAttached},
		{"reopen while attached", (*suite).reopenAttached},
		{"attach snapshots", (*suite).attachSnapshots},
		{"reopen while a snapshot is attached", (*suite).reopenAttachedSnapshot},
		{"revert", (*suite).revert},
		{"repair", (*suite).repair},
		{"check", (*suite).check},
		{"cancelled context", (*suite).cancelled},
		{"reopen", (*suite).reopen},
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
			t.Cleanup(s.cleanup)
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
	volumes   []backend.Key // made by the test and deleted after it
	snapshots []backend.Key
}

func newRef() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // no randomness: nothing can be tested
	}
	return id.String()
}

// cleanup deletes what the test made, for backends that outlive it, such as a cloud.
// What others depend on is deleted in a later round.
func (s *suite) cleanup() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s.ctx = ctx
	for range 3 {
		s.snapshots = slices.DeleteFunc(s.snapshots, func(k backend.Key) bool {
			return s.waitRemoved(s.Backend.DeleteSnapshot(ctx, k), func() (backend.State, error) {
				sn, err := s.Backend.Snapshot(ctx, k)
				return sn.State, err
			})
		})
		s.volumes = slices.DeleteFunc(s.volumes, func(k backend.Key) bool {
			return s.waitRemoved(s.Backend.DeleteVolume(ctx, k), func() (backend.State, error) {
				v, err := s.Backend.Volume(ctx, k)
				return v.State, err
			})
		})
	}
	if ctx.Err() != nil {
		s.Errorf("left behind: volumes %v, snapshots %v", s.volumes, s.snapshots)
	}
}

// waitRemoved waits for the end of a deletion that was answered with err.
func (s *suite) waitRemoved(err error, get func() (backend.State, error)) bool {
	for range maxPolls {
		if err != nil {
			return false
		}
		st, getErr := get()
		if getErr != nil || st.Status != backend.Deleting || s.Settle(s.ctx) != nil {
			return errors.Is(getErr, backend.ErrNotFound)
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
	s.must("create volume", err)
	s.volumes = append(s.volumes, v.Key)
	return s.waitVolume(v.Key, backend.Available)
}

// newSnapshot makes a snapshot and waits until it is AVAILABLE.
func (s *suite) newSnapshot(volume backend.Key, name string) backend.Snapshot {
	s.Helper()
	sn, err := s.Backend.CreateSnapshot(s.ctx, backend.SnapshotSpec{Ref: newRef(), Name: name, Volume: volume, Project: s.Project})
	s.must("create snapshot", err)
	s.snapshots = append(s.snapshots, sn.Key)
	return s.waitSnapshot(sn.Key, backend.Available)
}

func (s *suite) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// transient statuses end by themselves.
var transient = []backend.Status{
	backend.Creating, backend.Attaching, backend.Detaching, backend.Extending, backend.Restoring, backend.Deleting,
}

// waitFinal polls until the status is not transient and checks every state it gets.
func (s *suite) waitFinal(get func() (backend.State, error)) (backend.State, error) {
	s.Helper()
	for range maxPolls {
		st, err := get()
		if err != nil {
			return st, err
		}
		if st.Percent < backend.PercentUnknown || st.Percent > 100 {
			s.Fatalf("percent %d", st.Percent)
		}
		if !slices.Contains(transient, st.Status) {
			return st, nil
		}
		s.must("settle", s.Settle(s.ctx))
	}
	s.Fatal("the status never became final")
	return backend.State{}, nil
}

func (s *suite) waitVolume(key backend.Key, want backend.Status) backend.Volume {
	s.Helper()
	var v backend.Volume
	st, err := s.waitFinal(func() (_ backend.State, err error) {
		v, err = s.Backend.Volume(s.ctx, key)
		return v.State, err
	})
	if err != nil || st.Status != want {
		s.Fatalf("volume is %s (%v, error %v), want %s", st.Status, st.Failure, err, want)
	}
	return v
}

func (s *suite) waitSnapshot(key backend.Key, want backend.Status) backend.Snapshot {
	s.Helper()
	var sn backend.Snapshot
	st, err := s.waitFinal(func() (_ backend.State, err error) {
		sn, err = s.Backend.Snapshot(s.ctx, key)
		return sn.State, err
	})
	if err != nil || st.Status != want {
		s.Fatalf("snapshot is %s (%v, error %v), want %s", st.Status, st.Failure, err, want)
	}
	return sn
}

func (s *suite) waitVolumeGone(key backend.Key) {
	s.Helper()
	st, err := s.waitFinal(func() (backend.State, error) {
		v, err := s.Backend.Volume(s.ctx, key)
		return v.State, err
	})
	s.requireGone(st, err)
}

func (s *suite) waitSnapshotGone(key backend.Key) {
	s.Helper()
	st, err := s.waitFinal(func() (backend.State, error) {
		sn, err := s.Backend.Snapshot(s.ctx, key)
		return sn.State, err
	})
	s.requireGone(st, err)
}

func (s *suite) requireGone(st backend.State, err error) {
	s.Helper()
	if !errors.Is(err, backend.ErrNotFound) {
		s.Fatalf("still there as %s (%v), error %v", st.Status, st.Failure, err)
	}
}

// allVolumes lists all volumes in pages of at most limit.
func (s *suite) allVolumes(limit int) []backend.Volume {
	s.Helper()
	return listAll(s, limit, s.Backend.Volumes, func(v backend.Volume) string { return v.ID })
}

func (s *suite) allSnapshots(limit int) []backend.Snapshot {
	s.Helper()
	return listAll(s, limit, s.Backend.Snapshots, func(sn backend.Snapshot) string { return sn.ID })
}

func listAll[T any](s *suite, limit int, list func(context.Context, string, int) (backend.Page[T], error), id func(T) string) []T {
	s.Helper()
	var all []T
	seen := map[string]bool{}
	for marker := ""; ; {
		p, err := list(s.ctx, marker, limit)
		s.must("list", err)
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
