package backendtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"blockconsole/models/backend"
)

func (s *suite) capabilities() {
	if s.caps.Name == "" || len(s.caps.Poll) == 0 || s.caps.MaxSizeGiB < -1 || s.caps.FreeBytes < -1 {
		s.Fatalf("%+v", s.caps)
	}
	for _, d := range s.caps.Poll {
		if d <= 0 {
			s.Fatalf("poll steps %v", s.caps.Poll)
		}
	}
	if s.caps.MultiAttach && !s.caps.Attach {
		s.Fatal("multi-attach without attach")
	}
}

func (s *suite) createVolume() {
	spec := s.spec("first")
	spec.Description = "what it is for"
	started, err := s.Backend.CreateVolume(s.ctx, spec)
	s.must("create", err)
	s.volumes = append(s.volumes, started.Key)
	if started.Ref != spec.Ref || started.ID == "" || started.Status != backend.Creating && started.Status != backend.Available {
		s.Fatalf("create answers %+v", started)
	}
	v := s.waitVolume(started.Key, backend.Available)
	if v.Key != started.Key || v.Name != spec.Name || v.Description != spec.Description || v.SizeGiB != 1 || v.CreatedAt.IsZero() ||
		len(v.Attachments) != 0 || v.Source != nil || v.Failure != nil {
		s.Fatalf("%+v", v)
	}
	again, err := s.Backend.CreateVolume(s.ctx, spec)
	if err != nil || again.Key != v.Key || again.Status != backend.Available {
		s.Fatalf("the same create once more: %+v, %v", again, err)
	}
}

func (s *suite) createSnapshot() {
	v := s.newVolume(s.spec("source"))
	spec := backend.SnapshotSpec{Ref: newRef(), Name: "first", Description: "before the upgrade", Volume: v.Key, Project: s.Project}
	called := time.Now()
	started, err := s.Backend.CreateSnapshot(s.ctx, spec)
	s.must("create", err)
	s.snapshots = append(s.snapshots, started.Key)
	if started.Ref != spec.Ref || started.ID == "" || started.Status != backend.Creating && started.Status != backend.Available {
		s.Fatalf("create answers %+v", started)
	}
	sn := s.waitSnapshot(started.Key, backend.Available)
	if sn.Key != started.Key || sn.Name != spec.Name || sn.Description != spec.Description || sn.SizeGiB != 1 || !isOf(sn, v) || sn.CreatedAt.IsZero() {
		s.Fatalf("%+v", sn)
	}
	s.wantInstant(sn, called, backend.Clean)
	again, err := s.Backend.CreateSnapshot(s.ctx, spec)
	if err != nil || again.Key != sn.Key || again.Status != backend.Available || !again.TakenAt.Equal(sn.TakenAt) {
		s.Fatalf("the same create once more: %+v, %v", again, err)
	}
}

// wantInstant checks when a snapshot was taken that was asked for at called, and how: not at
// all where the backend does not know. Backends tell the time in seconds, some of them.
func (s *suite) wantInstant(sn backend.Snapshot, called time.Time, want backend.Consistency) {
	now := time.Now()
	if sn.TakenAt.Before(called.Truncate(time.Second)) || sn.TakenAt.After(now) {
		s.Errorf("asked for between %s and %s, taken at %s", called, now, sn.TakenAt)
	}
	if sn.Consistency != "" && sn.Consistency != want {
		s.Errorf("%q instead of %q", sn.Consistency, want)
	}
}

func (s *suite) createInvalid() {
	v := s.newVolume(s.spec("two"))
	grown := s.spec("of 2 GiB")
	grown.SizeGiB = 2
	big := s.newSnapshot(s.newVolume(grown).Key, "big")
	missing := backend.Key{Ref: newRef()}

	for _, tt := range []struct {
		name   string
		change func(*backend.VolumeSpec)
		field  string // of CodeInvalid; empty: ErrNotFound
	}{
		{"size 0", func(v *backend.VolumeSpec) { v.SizeGiB = 0 }, "size_gib"},
		{"negative size", func(v *backend.VolumeSpec) { v.SizeGiB = -1 }, "size_gib"},
		{"smaller than the snapshot", func(v *backend.VolumeSpec) { v.Snapshot = &big.Key }, "size_gib"},
		{"unknown snapshot", func(v *backend.VolumeSpec) { v.Snapshot = &missing }, ""},
	} {
		spec := s.spec("refused")
		tt.change(&spec)
		_, err := s.Backend.CreateVolume(s.ctx, spec)
		var invalid *backend.Error
		if tt.field == "" && !errors.Is(err, backend.ErrNotFound) || tt.field != "" && (!errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != tt.field) {
			s.Errorf("%s: %v", tt.name, err)
		}
		if _, err := s.Backend.Volume(s.ctx, backend.Key{Ref: spec.Ref}); !errors.Is(err, backend.ErrNotFound) {
			s.Errorf("%s: something was made: %v", tt.name, err)
		}
	}
	spec := backend.SnapshotSpec{Ref: newRef(), Name: "of nothing", Volume: missing, Project: s.Project}
	if _, err := s.Backend.CreateSnapshot(s.ctx, spec); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("a snapshot of an unknown volume: %v", err)
	}
	s.waitVolume(v.Key, backend.Available)
}

// createConcurrently makes the same create calls at the same time.
func (s *suite) createConcurrently() {
	vspec := s.spec("one")
	ids := s.concurrently(func() (backend.Key, error) {
		v, err := s.Backend.CreateVolume(s.ctx, vspec)
		return v.Key, err
	})
	s.volumes = append(s.volumes, ids...)
	v := s.waitVolume(backend.Key{Ref: vspec.Ref}, backend.Available)
	sspec := backend.SnapshotSpec{Ref: newRef(), Name: "one", Volume: v.Key, Project: s.Project}
	snaps := s.concurrently(func() (backend.Key, error) {
		sn, err := s.Backend.CreateSnapshot(s.ctx, sspec)
		return sn.Key, err
	})
	s.snapshots = append(s.snapshots, snaps...)
	s.waitSnapshot(backend.Key{Ref: sspec.Ref}, backend.Available)
	if n := count(s.allVolumes(100), func(v backend.Volume) bool { return v.Ref == vspec.Ref }); n != 1 || len(ids) != 1 {
		s.Errorf("%d volumes with one ref, answers named %d", n, len(ids))
	}
	if n := count(s.allSnapshots(100), func(sn backend.Snapshot) bool { return sn.Ref == sspec.Ref }); n != 1 || len(snaps) != 1 {
		s.Errorf("%d snapshots with one ref, answers named %d", n, len(snaps))
	}
}

// concurrently makes the same call in eight goroutines and returns the distinct keys.
func (s *suite) concurrently(call func() (backend.Key, error)) []backend.Key {
	var wg sync.WaitGroup
	var keys []backend.Key
	for range 8 {
		wg.Go(func() {
			key, err := call()
			s.mu.Lock()
			defer s.mu.Unlock()
			if err != nil {
				s.Errorf("concurrent create: %v", err)
			} else if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		})
	}
	wg.Wait()
	return keys
}

func count[T any](items []T, is func(T) bool) int {
	n := 0
	for _, item := range items {
		if is(item) {
			n++
		}
	}
	return n
}

func (s *suite) find() {
	v := s.newVolume(s.spec("found"))
	sn := s.newSnapshot(v.Key, "found")
	for _, key := range []backend.Key{{Ref: v.Ref}, {ID: v.ID}, v.Key} {
		if got, err := s.Backend.Volume(s.ctx, key); err != nil || got.Key != v.Key {
			s.Errorf("volume by %+v: %+v, %v", key, got.Key, err)
		}
	}
	for _, key := range []backend.Key{{Ref: sn.Ref}, {ID: sn.ID}, sn.Key} {
		if got, err := s.Backend.Snapshot(s.ctx, key); err != nil || got.Key != sn.Key {
			s.Errorf("snapshot by %+v: %+v, %v", key, got.Key, err)
		}
	}
	if _, err := s.Backend.Volume(s.ctx, backend.Key{Ref: sn.Ref}); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("a snapshot's ref finds a volume: %v", err)
	}
}

func (s *suite) missingObjects() {
	for _, key := range []backend.Key{{Ref: newRef()}, {ID: newRef()}, {}, {Ref: "../../etc/passwd"}, {ID: "\x00", Ref: "' OR 1=1 --"}} {
		for name, err := range map[string]error{
			"Volume":         errorOf(s.Backend.Volume(s.ctx, key)),
			"Snapshot":       errorOf(s.Backend.Snapshot(s.ctx, key)),
			"RenameVolume":   s.Backend.RenameVolume(s.ctx, key, "name", ""),
			"RenameSnapshot": s.Backend.RenameSnapshot(s.ctx, key, "name", ""),
			"ExtendVolume":   s.Backend.ExtendVolume(s.ctx, key, 2),
		} {
			if !errors.Is(err, backend.ErrNotFound) {
				s.Errorf("%s of %+q: %v", name, key, err)
			}
		}
		if err := s.Backend.DeleteVolume(s.ctx, key); err != nil {
			s.Errorf("deleting the gone volume %+q: %v", key, err)
		}
		if err := s.Backend.DeleteSnapshot(s.ctx, key); err != nil {
			s.Errorf("deleting the gone snapshot %+q: %v", key, err)
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

// isOf says that a snapshot is one of v. A cloud knows the volume only by its ID.
func isOf(sn backend.Snapshot, v backend.Volume) bool {
	return sn.Volume.ID == v.ID && (sn.Volume.Ref == v.Ref || sn.Volume.Ref == "")
}

// oddNames are unusual names; they are stored unchanged, or as Fixture.StoredText says.
var oddNames = []string{
	"", "plain-name-1", strings.Repeat("n", 255), strings.Repeat("\uac00", 255), `<script>alert("1")</script>&amp;'`,
	"\U0001F4BE\U0001F468\u200d\U0001F469\u200d\U0001F467", "../../etc/passwd", "  spaces  ", "=1+1", "plain-name-1", "\u202ertl", "new\nline\ttab",
}

func (s *suite) storedNames() {
	v := s.newVolume(s.spec("base"))
	sn := s.newSnapshot(v.Key, "base")
	for _, name := range oddNames {
		s.checkRename(backend.SubjectVolume, name, func() error { return s.Backend.RenameVolume(s.ctx, v.Key, name, name) },
			func() (string, string, error) {
				got, err := s.Backend.Volume(s.ctx, v.Key)
				return got.Name, got.Description, err
			})
		s.checkRename(backend.SubjectSnapshot, name, func() error { return s.Backend.RenameSnapshot(s.ctx, sn.Key, name, name) },
			func() (string, string, error) {
				got, err := s.Backend.Snapshot(s.ctx, sn.Key)
				return got.Name, got.Description, err
			})
	}
	spec := s.spec(oddNames[4])
	if made := s.newVolume(spec); made.Name != spec.Name {
		s.Errorf("made as %+q, named %+q", spec.Name, made.Name)
	}
	s.newVolume(s.spec(v.Name)) // a duplicate is no error
}

// checkRename renames an object to text and checks the name and description that it
// has then.
func (s *suite) checkRename(subject backend.SubjectType, text string, rename func() error, get func() (name, description string, err error)) {
	s.Helper()
	name, nameOK := s.storedText(subject, "name", text)
	description, descriptionOK := s.storedText(subject, "description", text)
	if !nameOK || !descriptionOK {
		name, description, _ = get()
	}
	err := rename()
	var invalid *backend.Error
	switch {
	case nameOK && descriptionOK:
		s.must("rename "+string(subject), err)
	case !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field == "name" && nameOK || invalid.Field == "description" && descriptionOK:
		s.Errorf("%s %+q is not refused: %v", subject, text, err)
	}
	gotName, gotDescription, err := get()
	if err != nil || gotName != name || gotDescription != description {
		s.Errorf("%s %+q came back as %+q, %+q, %v", subject, text, gotName, gotDescription, err)
	}
}

func (s *suite) storedText(subject backend.SubjectType, field, text string) (string, bool) {
	if s.StoredText == nil {
		return text, true
	}
	return s.StoredText(subject, field, text)
}

func (s *suite) rename() {
	v := s.newVolume(s.spec("old"))
	sn := s.newSnapshot(v.Key, "old")
	for range 2 { // idempotent
		s.must("rename volume", s.Backend.RenameVolume(s.ctx, v.Key, "new", "text"))
		s.must("rename snapshot", s.Backend.RenameSnapshot(s.ctx, backend.Key{Ref: sn.Ref}, "new", "text"))
	}
	gotV := s.waitVolume(v.Key, backend.Available)
	gotS := s.waitSnapshot(sn.Key, backend.Available)
	if gotV.Name != "new" || gotV.Description != "text" || gotS.Name != "new" || gotS.Description != "text" {
		s.Errorf("%+v %+v", gotV, gotS)
	}
	if gotV.SizeGiB != v.SizeGiB || !gotV.CreatedAt.Equal(v.CreatedAt) || !isOf(gotS, v) {
		s.Errorf("the rename changed more: %+v %+v", gotV, gotS)
	}
}

func (s *suite) lock() {
	v := s.newVolume(s.spec("kept"))
	lock := backend.Lock{Until: time.Date(2030, 1, 2, 15, 0, 0, 0, time.UTC), Reason: "audit \u2028 \uac10\uc0ac", By: "kim", At: time.Date(2026, 11, 25, 1, 2, 3, 4000, time.UTC)}
	if !s.caps.Locks {
		if err := s.Backend.SetLock(s.ctx, backend.SubjectVolume, v.Key, lock); !errors.Is(err, backend.ErrUnsupported) {
			s.Errorf("%v", err)
		}
		return
	}
	sn := s.newSnapshot(v.Key, "kept")
	born, err := s.Backend.CreateSnapshot(s.ctx, backend.SnapshotSpec{Ref: newRef(), Name: "born", Volume: v.Key, Project: s.Project, Lock: lock})
	s.must("create a locked snapshot", err)
	s.snapshots = append(s.snapshots, born.Key)
	s.waitSnapshot(born.Key, backend.Available)
	set := func(lock backend.Lock) {
		for range 2 { // idempotent
			s.must("lock volume", s.Backend.SetLock(s.ctx, backend.SubjectVolume, v.Key, lock))
			s.must("lock snapshot", s.Backend.SetLock(s.ctx, backend.SubjectSnapshot, backend.Key{Ref: sn.Ref}, lock))
		}
	}
	check := func(when string, want, wantBorn backend.Lock) {
		s.Helper()
		if gotV, gotS, gotB := s.waitVolume(v.Key, backend.Available).Lock, s.waitSnapshot(sn.Key, backend.Available).Lock, s.waitSnapshot(born.Key, backend.Available).Lock; gotV != want || gotS != want || gotB != wantBorn {
			s.Errorf("%s: %+v %+v %+v", when, gotV, gotS, gotB)
		}
	}
	check("at first", backend.Lock{}, lock)
	set(lock)
	s.must("rename", s.Backend.RenameVolume(s.ctx, v.Key, "other", "")) // keeps it
	check("locked", lock, lock)
	if s.Reopen != nil {
		s.Backend = s.Reopen()
		check("reopened", lock, lock)
	}
	set(backend.Lock{})
	check("unlocked", backend.Lock{}, lock)
	if err := s.Backend.SetLock(s.ctx, backend.SubjectVolume, backend.Key{Ref: newRef()}, lock); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("no such volume: %v", err)
	}
}

func (s *suite) pages() {
	for range 5 {
		s.newVolume(s.spec("paged"))
	}
	of := s.volumes[2]
	for range 5 {
		s.newSnapshot(of, "paged")
	}
	mine := func(keys []backend.Key) []string {
		var refs []string
		for _, k := range keys {
			if slices.ContainsFunc(s.volumes, func(v backend.Key) bool { return v.Ref == k.Ref }) ||
				slices.ContainsFunc(s.snapshots, func(v backend.Key) bool { return v.Ref == k.Ref }) {
				refs = append(refs, k.Ref)
			}
		}
		return refs
	}
	vols := func(limit int) []string {
		return mine(keysOf(s.allVolumes(limit), func(v backend.Volume) backend.Key { return v.Key }))
	}
	snaps := func(limit int) []string {
		return mine(keysOf(s.allSnapshots(limit), func(v backend.Snapshot) backend.Key { return v.Key }))
	}
	whole, wholeSnaps := vols(100), snaps(100)
	if len(whole) != 5 || len(wholeSnaps) != 5 {
		s.Fatalf("%d volumes and %d snapshots listed", len(whole), len(wholeSnaps))
	}
	for _, limit := range []int{1, 2, 3} {
		if got := vols(limit); !slices.Equal(got, whole) {
			s.Errorf("volumes by %d: %v, want %v", limit, got, whole)
		}
		if got := snaps(limit); !slices.Equal(got, wholeSnaps) {
			s.Errorf("snapshots by %d: %v, want %v", limit, got, wholeSnaps)
		}
	}
	s.vanishedMarker()
}

func keysOf[T any](items []T, key func(T) backend.Key) []backend.Key {
	var keys []backend.Key
	for _, item := range items {
		keys = append(keys, key(item))
	}
	return keys
}

// vanishedMarker deletes the object that a marker names and continues the listing.
func (s *suite) vanishedMarker() {
	all := s.allSnapshots(100)
	i := slices.IndexFunc(all, func(sn backend.Snapshot) bool { return sn.Ref == s.snapshots[2].Ref })
	p, err := s.Backend.Snapshots(s.ctx, "", i+1)
	s.must("list", err)
	if p.Next == "" || i+1 == len(all) {
		return // it is the last one here
	}
	s.must("delete", s.Backend.DeleteSnapshot(s.ctx, all[i].Key))
	s.waitSnapshotGone(all[i].Key)
	rest, err := s.Backend.Snapshots(s.ctx, p.Next, 100)
	s.must("list after a vanished marker", err)
	if len(rest.Items) == 0 || rest.Items[0].Key != all[i+1].Key {
		s.Errorf("after a vanished marker the listing continues with %+v, want %v", rest.Items, all[i+1].Key)
	}
}

func (s *suite) cancelled() {
	v := s.newVolume(s.spec("kept"))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	spec := s.spec("never")
	for name, err := range map[string]error{
		"Volume":       errorOf(s.Backend.Volume(ctx, v.Key)),
		"Volumes":      errorOf(s.Backend.Volumes(ctx, "", 10)),
		"CreateVolume": errorOf(s.Backend.CreateVolume(ctx, spec)),
		"DeleteVolume": s.Backend.DeleteVolume(ctx, v.Key),
		"RenameVolume": s.Backend.RenameVolume(ctx, v.Key, "x", ""),
	} {
		if !errors.Is(err, context.Canceled) {
			s.Errorf("%s with a cancelled context: %v", name, err)
		}
	}
	if got := s.waitVolume(v.Key, backend.Available); got.Name != "kept" {
		s.Errorf("a cancelled call had an effect: %+v", got)
	}
	if _, err := s.Backend.Volume(s.ctx, backend.Key{Ref: spec.Ref}); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("a cancelled create made something: %v", err)
	}
}
