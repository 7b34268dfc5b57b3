package backendtest

import (
	"errors"
	"time"

	"blockconsole/models/backend"
)

// serverIDs are the IDs of the servers that volumes can be attached to.
func (s *suite) serverIDs() []string {
	s.Helper()
	var ids []string
	if s.caps.OwnServers {
		for _, server := range s.Servers {
			ids = append(ids, server.ID)
		}
	}
	page, err := s.Backend.Servers(s.ctx, "", 10)
	s.must("servers", err)
	for _, server := range page.Items {
		ids = append(ids, server.ID)
	}
	if s.caps.OwnServers && len(page.Items) > 0 {
		s.Errorf("servers are listed, although they are registered in the console: %v", page.Items)
	}
	return ids
}

// requireServers is serverIDs, or skips the test.
func (s *suite) requireServers() []string {
	s.Helper()
	if !s.caps.Attach {
		s.Skip("the backend cannot attach")
	}
	ids := s.serverIDs()
	if len(ids) == 0 {
		s.Skip("the fixture has no servers")
	}
	return ids
}

func (s *suite) attach() {
	v := s.newVolume(s.spec("attached"))
	if !s.caps.Attach {
		if err := s.Backend.AttachVolume(s.ctx, v.Key, "server"); !errors.Is(err, backend.ErrUnsupported) {
			s.Errorf("attach without the capability: %v", err)
		}
		if err := s.Backend.DetachVolume(s.ctx, v.Key, "server", false); !errors.Is(err, backend.ErrUnsupported) {
			s.Errorf("detach without the capability: %v", err)
		}
		return
	}
	servers := s.requireServers()
	var invalid *backend.Error
	if err := s.Backend.AttachVolume(s.ctx, v.Key, newRef()); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "server" {
		s.Errorf("attach to a missing server: %v", err)
	}
	if err := s.Backend.AttachVolume(s.ctx, backend.Key{Ref: newRef()}, servers[0]); !errors.Is(err, backend.ErrNotFound) {
		s.Errorf("attach of a missing volume: %v", err)
	}
	for range 2 {
		s.attachTo(v.Key, servers[0])
	}
	if err := s.Backend.DeleteVolume(s.ctx, v.Key); backend.AsError(err, backend.CodeConflict) == nil {
		s.Errorf("deleting an attached volume: %v", err)
	}
	s.attachedSnapshot(v)
	if len(servers) > 1 && !s.caps.MultiAttach {
		if err := s.Backend.AttachVolume(s.ctx, v.Key, servers[1]); backend.AsError(err, backend.CodeConflict) == nil {
			s.Errorf("attaching to a second server: %v", err)
		}
		s.must("detach where it is not attached", s.Backend.DetachVolume(s.ctx, v.Key, servers[1], false))
		s.waitVolume(v.Key, backend.InUse)
	}
	for range 2 {
		s.detachFrom(v.Key, servers[0], false)
	}
	s.attachTo(v.Key, servers[len(servers)-1])
	s.detachFrom(v.Key, servers[len(servers)-1], true)
}

// attachTo attaches and waits until the volume is IN-USE.
func (s *suite) attachTo(key backend.Key, server string) backend.Volume {
	s.Helper()
	s.must("attach", s.Backend.AttachVolume(s.ctx, key, server))
	got := s.waitVolume(key, backend.InUse)
	if len(got.Attachments) != 1 || got.Attachments[0].ServerID != server || got.Attachments[0].AttachedAt == 0 || got.Failure != nil {
		s.Fatalf("attached to %v (%v)", got.Attachments, got.Failure)
	}
	return got
}

// detachFrom detaches and waits until the volume is AVAILABLE.
func (s *suite) detachFrom(key backend.Key, server string, force bool) {
	s.Helper()
	s.must("detach", s.Backend.DetachVolume(s.ctx, key, server, force))
	if got := s.waitVolume(key, backend.Available); len(got.Attachments) != 0 || got.Failure != nil {
		s.Fatalf("still attached to %v (%v)", got.Attachments, got.Failure)
	}
}

// attachedSnapshot takes a snapshot of an attached volume.
func (s *suite) attachedSnapshot(v backend.Volume) backend.Snapshot {
	s.Helper()
	spec := backend.SnapshotSpec{Ref: newRef(), Name: "in use", Volume: v.Key, Project: s.Project, Attached: true, Acknowledged: true}
	called := time.Now()
	sn, err := s.Backend.CreateSnapshot(s.ctx, spec)
	s.must("snapshot of an attached volume", err)
	s.snapshots = append(s.snapshots, sn.Key)
	sn = s.waitSnapshot(sn.Key, backend.Available)
	s.wantInstant(sn, called, backend.CrashConsistent)
	return sn
}

// changeAttached renames, extends and snapshots an attached volume.
func (s *suite) changeAttached() {
	servers := s.requireServers()
	v := s.newVolume(s.spec("busy"))
	if s.WriteVolume != nil {
		s.write(v.Key, 0, "while attached")
	}
	s.attachTo(v.Key, servers[0])
	s.must("rename", s.Backend.RenameVolume(s.ctx, v.Key, "renamed", "in use"))
	size := 1
	if s.caps.ExtendAttached {
		size = 2
		s.must("extend", s.Backend.ExtendVolume(s.ctx, v.Key, size))
	}
	got := s.waitVolume(v.Key, backend.InUse)
	if got.Name != "renamed" || got.SizeGiB != size || len(got.Attachments) != 1 {
		s.Errorf("%+v", got)
	}
	sn := s.attachedSnapshot(got)
	spec := s.spec("restored")
	spec.SizeGiB, spec.Snapshot = size, &sn.Key
	restored := s.newVolume(spec)
	if s.ReadVolume != nil {
		s.expectBytes(restored.Key, 0, "while attached")
	}
	s.attachTo(restored.Key, servers[len(servers)-1])
	s.detachFrom(restored.Key, servers[len(servers)-1], false)
	s.detachFrom(v.Key, servers[0], false)
}

// reopenAttached restarts the backend while a volume is attached.
func (s *suite) reopenAttached() {
	if s.Reopen == nil {
		s.Skip("the fixture cannot be reopened")
	}
	servers := s.requireServers()
	v := s.newVolume(s.spec("in use"))
	before := s.attachTo(v.Key, servers[0])
	s.Backend = s.Reopen()
	after := s.waitVolume(v.Key, backend.InUse)
	if len(after.Attachments) != 1 || after.Attachments[0].ServerID != servers[0] ||
		after.Attachments[0].AttachedAt != before.Attachments[0].AttachedAt {
		s.Errorf("before %+v, after %+v", before.Attachments, after.Attachments)
	}
	s.detachFrom(v.Key, servers[0], false)
	s.Backend = s.Reopen()
	s.waitVolume(v.Key, backend.Available)
}
