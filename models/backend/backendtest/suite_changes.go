package backendtest

import (
	"bytes"
	"errors"
	"slices"

	"blockconsole/models/backend"
)

func (s *suite) extend() {
	v := s.newVolume(s.spec("growing"))
	for range 2 { // the second finds it done
		s.ok("extend", s.Backend.ExtendVolume(s.ctx, v.Key, 2))
		if got := s.volumeIs(v.Key, backend.Available); got.SizeGiB != 2 {
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
	s.ok("delete snapshot", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.ok("delete it once more", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.snapshotGone(sn.Key)
	s.ok("delete the gone", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.ok("delete volume", s.Backend.DeleteVolume(s.ctx, backend.Key{Ref: v.Ref}))
	s.ok("delete it once more", s.Backend.DeleteVolume(s.ctx, v.Key))
	s.volumeGone(v.Key)
	s.ok("delete the gone", s.Backend.DeleteVolume(s.ctx, v.Key))
	if n := count(s.allVolumes(100), func(o backend.Volume) bool { return o.ID == v.ID }); n != 0 {
		s.Error("the deleted volume is still listed")
	}
	if n := count(s.allSnapshots(100), func(o backend.Snapshot) bool { return o.ID == sn.ID }); n != 0 {
		s.Error("the deleted snapshot is still listed")
	}
}

func (s *suite) busy() {
	v := s.newVolume(s.spec("needed"))
	sn := s.newSnapshot(v.Key, "needs it")
	var busy *backend.Error
	if err := s.Backend.DeleteVolume(s.ctx, v.Key); !errors.As(err, &busy) || busy.Code != backend.CodeBusy {
		s.Fatalf("deleting a volume with a snapshot: %v", err)
	}
	if !slices.ContainsFunc(busy.Dependents, func(k backend.Key) bool { return k.ID == sn.ID || k.Ref == sn.Ref }) {
		s.Errorf("the dependents are %v, want %v among them", busy.Dependents, sn.Key)
	}
	s.volumeIs(v.Key, backend.Available)
	spec := s.spec("made from it")
	spec.Snapshot = &sn.Key
	child := s.newVolume(spec)
	err := s.Backend.DeleteSnapshot(s.ctx, sn.Key)
	if s.caps.BusySnapshots {
		if !errors.As(err, &busy) || busy.Code != backend.CodeBusy {
			s.Fatalf("deleting a snapshot with a volume: %v", err)
		}
		s.ok("delete the volume first", s.Backend.DeleteVolume(s.ctx, child.Key))
		s.volumeGone(child.Key)
		err = s.Backend.DeleteSnapshot(s.ctx, sn.Key)
	}
	s.ok("delete the snapshot", err)
	if s.refusedLater(sn.Key, child.Key) {
		s.ok("delete the volume first", s.Backend.DeleteVolume(s.ctx, child.Key))
		s.volumeGone(child.Key)
		s.ok("delete the snapshot", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	}
	s.snapshotGone(sn.Key)
	s.ok("delete the volume", s.Backend.DeleteVolume(s.ctx, v.Key))
	s.volumeGone(v.Key)
}

// refusedLater says that a deletion which was accepted has been given up, as a cloud
// may do that learns of the dependents only then. It must name them.
func (s *suite) refusedLater(snapshot, dependent backend.Key) bool {
	s.Helper()
	var last backend.Snapshot
	st, err := s.until(func() (_ backend.State, err error) {
		last, err = s.Backend.Snapshot(s.ctx, snapshot)
		return last.State, err
	})
	if errors.Is(err, backend.ErrNotFound) {
		return false
	}
	s.ok("look at the snapshot", err)
	if !s.caps.Shared || st.Status != backend.Available {
		s.Fatalf("the deletion ended as %s (%v)", st.Status, st.Failure)
	}
	var busy *backend.Error
	if err := s.Backend.LastFailure(s.ctx, backend.SubjectSnapshot, snapshot, last.CreatedAt); !errors.As(err, &busy) || busy.Code != backend.CodeBusy {
		s.Fatalf("a deletion was given up, and the backend says %v", err)
	}
	if !slices.ContainsFunc(busy.Dependents, func(k backend.Key) bool { return k.ID == dependent.ID }) {
		s.Errorf("the dependents are %v, want %v among them", busy.Dependents, dependent)
	}
	return true
}

func (s *suite) needBytes() {
	if s.WriteVolume == nil || s.ReadVolume == nil {
		s.Skip("the fixture gives no access to bytes")
	}
}

func (s *suite) write(key backend.Key, offset int64, text string) {
	s.Helper()
	s.ok("write", s.WriteVolume(key, offset, []byte(text)))
}

func (s *suite) reads(key backend.Key, offset int64, want string) {
	s.Helper()
	got, err := s.ReadVolume(key, offset, len(want))
	if err != nil || string(got) != want {
		s.Errorf("at %d: %q, %v, want %q", offset, got, err, want)
	}
}

func (s *suite) restore() {
	s.needBytes()
	v := s.newVolume(s.spec("source"))
	s.write(v.Key, 0, "first sector")
	s.write(v.Key, 70000, "later")
	sn := s.newSnapshot(v.Key, "then")
	s.write(v.Key, 0, "overwritten!")
	spec := s.spec("restored")
	spec.Snapshot, spec.SizeGiB = &sn.Key, 2
	restored := s.newVolume(spec)
	s.reads(restored.Key, 0, "first sector")
	s.reads(restored.Key, 70000, "later")
	s.reads(restored.Key, 40000, string(make([]byte, 1000)))
	s.reads(v.Key, 0, "overwritten!")
	s.write(restored.Key, 0, "third writer")
	s.reads(v.Key, 0, "overwritten!")
	twin := s.spec("restored again")
	twin.Snapshot = &sn.Key
	s.reads(s.newVolume(twin).Key, 0, "first sector")
}

func (s *suite) image() {
	if s.Image == "" {
		s.Skip("the fixture has no image")
	}
	images, err := s.Backend.Images(s.ctx)
	s.ok("images", err)
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
	s.ok("revert", s.Backend.RevertVolume(s.ctx, v.Key, sn.Key))
	s.volumeIs(v.Key, backend.Available)
	if s.ReadVolume != nil {
		s.reads(v.Key, 0, "before")
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
		s.ok("repair volume", err)
		s.ok("repair snapshot", s.Backend.RepairSnapshot(s.ctx, sn.Key, to))
		s.volumeIs(v.Key, to)
		s.snapshotIs(sn.Key, to)
	}
	var invalid *backend.Error
	if err := s.Backend.RepairVolume(s.ctx, v.Key, backend.InUse); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "status" {
		s.Errorf("repair to IN-USE: %v", err)
	}
	missing := backend.Key{Ref: newRef()}
	if err := s.Backend.RepairVolume(s.ctx, missing, backend.ErrorStatus); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("repair of what is not there: %v", err)
	}
	s.ok("to ERROR", s.Backend.RepairSnapshot(s.ctx, sn.Key, backend.ErrorStatus))
	s.ok("delete in ERROR", s.Backend.DeleteSnapshot(s.ctx, sn.Key))
	s.snapshotGone(sn.Key)
}

func (s *suite) reopen() {
	if s.Reopen == nil {
		s.Skip("the fixture cannot be reopened")
	}
	v := s.newVolume(s.spec("kept"))
	sn := s.newSnapshot(v.Key, "kept too")
	gone := s.newVolume(s.spec("gone"))
	s.ok("rename", s.Backend.RenameVolume(s.ctx, v.Key, "kept as", oddNames[4]))
	s.ok("extend", s.Backend.ExtendVolume(s.ctx, v.Key, 2))
	before := s.volumeIs(v.Key, backend.Available)
	s.ok("delete", s.Backend.DeleteVolume(s.ctx, gone.Key))
	s.volumeGone(gone.Key)
	s.Backend = s.Reopen()
	after := s.volumeIs(v.Key, backend.Available)
	if after.Key != before.Key || after.Name != "kept as" || after.Description != oddNames[4] || after.SizeGiB != 2 ||
		!after.CreatedAt.Equal(before.CreatedAt) {
		s.Errorf("before %+v, after %+v", before, after)
	}
	if got := s.snapshotIs(sn.Key, backend.Available); got.Name != sn.Name || !isOf(got, v) || got.SizeGiB != 1 {
		s.Errorf("before %+v, after %+v", sn, got)
	}
	s.volumeGone(gone.Key)
}
