package backendtest

import (
	"bytes"
	"errors"
	"slices"

	"blockconsole/models/backend"
)

func (s *suite) extend() {
	v := s.newVolume(s.spec("growing"))
	for range 2 { // the second has nothing to do
		s.must("extend", s.Backend.ExtendVolume(s.ctx, v.Key, 2))
		if got := s.waitVolume(v.Key, backend.Available); got.SizeGiB != 2 {
			s.Fatalf("%d GiB", got.SizeGiB)
		}
	}
	for _, size := range []int{1, 0, -1} {
		var invalid *backend.Error
		if err := s.Backend.ExtendVolume(s.ctx, v.Key, size); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "size_gib" {
			s.Errorf("to %d GiB: %v", size, err)
		}
	}
	sn := s.newSnapshot(v.Key, "of the grown one")
	if sn.SizeGiB != 2 {
		s.Errorf("the snapshot has %d GiB", sn.SizeGiB)
	}
	spec := s.spec("larger than its snapshot")
	spec.SizeGiB, spec.Snapshot = 3, &sn.Key
	if got := s.newVolume(spec); got.SizeGiB != 3 || got.Source == nil || got.Source.ID != sn.ID {
		s.Errorf("%+v", got)
	}
}

func (s *suite) delete() {
	v := s.newVolume(s.spec("short-lived"))
	sn := s.newSnapshot(v.Key, "short-lived")
	s.must("delete snapshot", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.must("delete it once more", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.waitSnapshotGone(sn.Key)
	s.must("delete the gone", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.must("delete volume", s.Backend.DeleteVolume(s.ctx, backend.Key{Ref: v.Ref}))
	s.must("delete it once more", s.Backend.DeleteVolume(s.ctx, v.Key))
	s.waitVolumeGone(v.Key)
	s.must("delete the gone", s.Backend.DeleteVolume(s.ctx, v.Key))
	if n := count(s.allVolumes(100), func(o backend.Volume) bool { return o.ID == v.ID }); n != 0 {
		s.Error("the deleted volume is still listed")
	}
	if n := count(s.allSnapshots(100), func(o backend.Snapshot) bool { return o.ID == sn.ID }); n != 0 {
		s.Error("the deleted snapshot is still listed")
	}
}

func (s *suite) deleteBusy() {
	v := s.newVolume(s.spec("needed"))
	sn := s.newSnapshot(v.Key, "needs it")
	var busy *backend.Error
	if err := s.Backend.DeleteVolume(s.ctx, v.Key); !errors.As(err, &busy) || busy.Code != backend.CodeBusy {
		s.Fatalf("deleting a volume with a snapshot: %v", err)
	}
	if !slices.ContainsFunc(busy.Dependents, func(k backend.Key) bool { return k.ID == sn.ID || k.Ref == sn.Ref }) {
		s.Errorf("the dependents are %v, want %v among them", busy.Dependents, sn.Key)
	}
	s.waitVolume(v.Key, backend.Available)
	spec := s.spec("made from it")
	spec.Snapshot = &sn.Key
	child := s.newVolume(spec)
	err := s.Backend.DeleteSnapshot(s.ctx, sn.Key)
	if s.caps.BusySnapshots {
		if !errors.As(err, &busy) || busy.Code != backend.CodeBusy {
			s.Fatalf("deleting a snapshot with a volume: %v", err)
		}
		s.must("delete the volume first", s.Backend.DeleteVolume(s.ctx, child.Key))
		s.waitVolumeGone(child.Key)
		err = s.Backend.DeleteSnapshot(s.ctx, sn.Key)
	}
	s.must("delete the snapshot", err)
	if s.deletionGivenUp(sn.Key, child.Key) {
		s.must("delete the volume first", s.Backend.DeleteVolume(s.ctx, child.Key))
		s.waitVolumeGone(child.Key)
		s.must("delete the snapshot", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	}
	s.waitSnapshotGone(sn.Key)
	s.must("delete the volume", s.Backend.DeleteVolume(s.ctx, v.Key))
	s.waitVolumeGone(v.Key)
}

// deletionGivenUp says that a deletion was accepted and then given up, as in clouds
// that find the dependents only later. LastFailure must name them.
func (s *suite) deletionGivenUp(snapshot, dependent backend.Key) bool {
	s.Helper()
	var last backend.Snapshot
	st, err := s.waitFinal(func() (_ backend.State, err error) {
		last, err = s.Backend.Snapshot(s.ctx, snapshot)
		return last.State, err
	})
	if errors.Is(err, backend.ErrNotFound) {
		return false
	}
	s.must("get the snapshot", err)
	if !s.caps.Shared || st.Status != backend.Available {
		s.Fatalf("the deletion ended as %s (%v)", st.Status, st.Failure)
	}
	var busy *backend.Error
	if err := s.Backend.LastFailure(s.ctx, backend.SubjectSnapshot, snapshot, last.CreatedAt); !errors.As(err, &busy) || busy.Code != backend.CodeBusy {
		s.Fatalf("last failure of a deletion that was given up: %v", err)
	}
	if !slices.ContainsFunc(busy.Dependents, func(k backend.Key) bool { return k.ID == dependent.ID }) {
		s.Errorf("the dependents are %v, want %v among them", busy.Dependents, dependent)
	}
	return true
}

func (s *suite) requireBytes() {
	if s.WriteVolume == nil || s.ReadVolume == nil {
		s.Skip("the fixture gives no access to bytes")
	}
}

func (s *suite) write(key backend.Key, offset int64, text string) {
	s.Helper()
	s.must("write", s.WriteVolume(key, offset, []byte(text)))
}

func (s *suite) expectBytes(key backend.Key, offset int64, want string) {
	s.Helper()
	got, err := s.ReadVolume(key, offset, len(want))
	if err != nil || string(got) != want {
		s.Errorf("at %d: %q, %v, want %q", offset, got, err, want)
	}
}

func (s *suite) restore() {
	s.requireBytes()
	v := s.newVolume(s.spec("source"))
	s.write(v.Key, 0, "first sector")
	s.write(v.Key, 70000, "later")
	sn := s.newSnapshot(v.Key, "then")
	s.write(v.Key, 0, "overwritten!")
	spec := s.spec("restored")
	spec.Snapshot, spec.SizeGiB = &sn.Key, 2
	restored := s.newVolume(spec)
	s.expectBytes(restored.Key, 0, "first sector")
	s.expectBytes(restored.Key, 70000, "later")
	s.expectBytes(restored.Key, 40000, string(make([]byte, 1000)))
	s.expectBytes(v.Key, 0, "overwritten!")
	s.write(restored.Key, 0, "third writer")
	s.expectBytes(v.Key, 0, "overwritten!")
	second := s.spec("restored again")
	second.Snapshot = &sn.Key
	s.expectBytes(s.newVolume(second).Key, 0, "first sector")
}

func (s *suite) image() {
	if s.Image == "" {
		s.Skip("the fixture has no image")
	}
	images, err := s.Backend.Images(s.ctx)
	s.must("images", err)
	if !slices.ContainsFunc(images, func(i backend.Image) bool { return i.ID == s.Image && i.Name != "" && i.SizeBytes > 0 }) {
		s.Fatalf("%s is not among %v", s.Image, images)
	}
	spec := s.spec("from an image")
	spec.Image = s.Image
	v := s.newVolume(spec)
	if v.Image != s.Image {
		s.Errorf("made from the image %q", v.Image)
	}
	if s.ReadVolume != nil {
		got, err := s.ReadVolume(v.Key, 0, len(s.ImageBytes))
		if err != nil || !bytes.Equal(got, s.ImageBytes) {
			s.Errorf("other bytes than the image's, %v", err)
		}
	}
	spec = s.spec("from nothing")
	spec.Image = "no-such-image.raw"
	if _, err := s.Backend.CreateVolume(s.ctx, spec); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("an unknown image: %v", err)
	}
}

func (s *suite) revert() {
	v := s.newVolume(s.spec("reverted"))
	if s.WriteVolume != nil {
		s.write(v.Key, 0, "before")
	}
	sn := s.newSnapshot(v.Key, "before")
	if !s.caps.Revert {
		if err := s.Backend.RevertVolume(s.ctx, v.Key, sn.Key); !errors.Is(err, backend.ErrUnsupported) {
			s.Errorf("revert without the capability: %v", err)
		}
		return
	}
	if s.WriteVolume != nil {
		s.write(v.Key, 0, "after!")
	}
	s.must("revert", s.Backend.RevertVolume(s.ctx, v.Key, sn.Key))
	s.waitVolume(v.Key, backend.Available)
	if s.ReadVolume != nil {
		s.expectBytes(v.Key, 0, "before")
	}
}

func (s *suite) repair() {
	v := s.newVolume(s.spec("repaired"))
	sn := s.newSnapshot(v.Key, "repaired")
	if !s.caps.Repair {
		if err := s.Backend.RepairVolume(s.ctx, v.Key, backend.ErrorStatus); !errors.Is(err, backend.ErrUnsupported) {
			s.Errorf("repair without the capability: %v", err)
		}
		return
	}
	for _, to := range []backend.Status{backend.ErrorStatus, backend.ErrorStatus, backend.Available, backend.Available} {
		err := s.Backend.RepairVolume(s.ctx, v.Key, to)
		var forbidden *backend.Error
		if errors.As(err, &forbidden) && forbidden.Code == backend.CodeForbidden {
			s.Skipf("the account lacks the role %s", forbidden.Role)
		}
		s.must("repair volume", err)
		s.must("repair snapshot", s.Backend.RepairSnapshot(s.ctx, sn.Key, to))
		s.waitVolume(v.Key, to)
		s.waitSnapshot(sn.Key, to)
	}
	var invalid *backend.Error
	if err := s.Backend.RepairVolume(s.ctx, v.Key, backend.InUse); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "status" {
		s.Errorf("repair to IN-USE: %v", err)
	}
	missing := backend.Key{Ref: newRef()}
	if err := s.Backend.RepairVolume(s.ctx, missing, backend.ErrorStatus); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("repair of what is not there: %v", err)
	}
	s.must("to ERROR", s.Backend.RepairSnapshot(s.ctx, sn.Key, backend.ErrorStatus))
	s.must("delete in ERROR", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.waitSnapshotGone(sn.Key)
}

func (s *suite) check() {
	v := s.newVolume(s.spec("checked"))
	sn := s.newSnapshot(v.Key, "checked")
	if !s.caps.Checksums {
		if err := s.Backend.CheckSnapshot(s.ctx, sn.Key, false); !errors.Is(err, backend.ErrUnsupported) {
			s.Errorf("check without the capability: %v", err)
		}
		return
	}
	if err := s.Backend.CheckSnapshot(s.ctx, backend.Key{Ref: newRef()}, false); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("check of what is not there: %v", err)
	}
	first := s.checked(sn.Key, false)
	if first.ComputedAt.IsZero() {
		s.Errorf("the first check: %+v", first)
	}
	if again := s.checked(sn.Key, false); again.CheckedAt.IsZero() || !again.ComputedAt.Equal(first.ComputedAt) {
		s.Errorf("the second check: %+v after %+v", again, first)
	}
	if renewed := s.checked(sn.Key, true); renewed.ComputedAt.Before(first.ComputedAt) || !renewed.CheckedAt.IsZero() {
		s.Errorf("renewed: %+v after %+v", renewed, first)
	}
}

// checked has a snapshot checked, and expects no damage.
func (s *suite) checked(key backend.Key, renew bool) backend.Checks {
	s.Helper()
	for range 2 { // the second call finds the check under way, or makes another one
		s.must("check", s.Backend.CheckSnapshot(s.ctx, key, renew))
	}
	var c backend.Checks
	_, err := s.waitFinal(func() (backend.State, error) {
		sn, err := s.Backend.Snapshot(s.ctx, key)
		c = sn.Checks
		if c.Running {
			sn.State.Status = backend.Creating // for waitFinal
		}
		return sn.State, err
	})
	if err != nil || c.Running || c.Failure != nil || c.Damage != nil {
		s.Errorf("checked: %+v, %v", c, err)
	}
	return c
}

func (s *suite) reopen() {
	if s.Reopen == nil {
		s.Skip("the fixture cannot be reopened")
	}
	v := s.newVolume(s.spec("kept"))
	sn := s.newSnapshot(v.Key, "kept too")
	gone := s.newVolume(s.spec("gone"))
	s.must("rename", s.Backend.RenameVolume(s.ctx, v.Key, "kept as", oddNames[4]))
	s.must("extend", s.Backend.ExtendVolume(s.ctx, v.Key, 2))
	before := s.waitVolume(v.Key, backend.Available)
	s.must("delete", s.Backend.DeleteVolume(s.ctx, gone.Key))
	s.waitVolumeGone(gone.Key)
	s.Backend = s.Reopen()
	after := s.waitVolume(v.Key, backend.Available)
	if after.Key != before.Key || after.Name != "kept as" || after.Description != oddNames[4] || after.SizeGiB != 2 ||
		!after.CreatedAt.Equal(before.CreatedAt) {
		s.Errorf("before %+v, after %+v", before, after)
	}
	if got := s.waitSnapshot(sn.Key, backend.Available); got.Name != sn.Name || !isOf(got, v) || got.SizeGiB != 1 {
		s.Errorf("before %+v, after %+v", sn, got)
	}
	s.waitVolumeGone(gone.Key)
}
