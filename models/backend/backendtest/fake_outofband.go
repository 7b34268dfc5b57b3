package backendtest

import (
	"bytes"
	"fmt"
	"slices"

	"blockconsole/models/backend"
)

// The methods of this file change the Fake out of band, as another user of the
// storage does: at once and without an entry in CallLog.

// PutVolume adds a volume or replaces the one with its ID or Ref, and returns it with
// its ID. The default status is AVAILABLE.
func (f *Fake) PutVolume(v backend.Volume) backend.Volume {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.findVolume(v.Key)
	if old == nil {
		old = &fakeVolume{}
	}
	if v.ID == "" {
		v.ID = old.ID
	}
	f.fillDefaults(&v.ID, &v.State, &v.SizeGiB)
	if v.CreatedAt.IsZero() {
		v.CreatedAt = f.now().UTC()
	}
	v.Attachments = slices.Clone(v.Attachments)
	old.Volume, old.task = v, nil
	f.volumes[v.ID] = old
	return v
}

// PutSnapshot adds or replaces a snapshot as PutVolume does.
func (f *Fake) PutSnapshot(s backend.Snapshot) backend.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.findSnapshot(s.Key)
	if old == nil {
		old = &fakeSnapshot{}
	}
	if s.ID == "" {
		s.ID = old.ID
	}
	f.fillDefaults(&s.ID, &s.State, &s.SizeGiB)
	if s.CreatedAt.IsZero() {
		s.CreatedAt = f.now().UTC()
	}
	if v := f.findVolume(s.Volume); v != nil {
		s.Volume = v.Key
		if old.data == nil {
			old.data = slices.Clone(v.data)
		}
	}
	old.Snapshot, old.task = s, nil
	f.snapshots[s.ID] = old
	return s
}

// fillDefaults sets what a test left empty.
func (f *Fake) fillDefaults(id *string, s *backend.State, size *int) {
	if *id == "" {
		*id = f.newID()
	}
	if s.Status == "" {
		s.Status, s.Percent = backend.Available, 100
	}
	if s.Since.IsZero() {
		s.Since = f.now().UTC()
	}
	s.Changed = f.now().UTC()
	if *size == 0 {
		*size = 1
	}
}

// SetDamage is what checks of the snapshot find from now on; nil: nothing. It panics when
// there is no such snapshot.
func (f *Fake) SetDamage(ref string, damage *backend.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.findSnapshot(backend.Key{ID: ref, Ref: ref}).damage = damage
}

// RemoveVolume removes a volume, found by Ref or ID.
func (f *Fake) RemoveVolume(ref string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.findVolume(backend.Key{ID: ref, Ref: ref}); v != nil {
		delete(f.volumes, v.ID)
	}
}

// RemoveSnapshot removes a snapshot, found by Ref or ID.
func (f *Fake) RemoveSnapshot(ref string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.findSnapshot(backend.Key{ID: ref, Ref: ref}); s != nil {
		delete(f.snapshots, s.ID)
	}
}

// AttachOutOfBand attaches a volume to a server. It panics when there is no such
// volume or server.
func (f *Fake) AttachOutOfBand(volumeRef, serverID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, s := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef}), f.server(serverID)
	if v == nil || s == nil {
		panic(fmt.Sprintf("backendtest: no volume %q or server %q", volumeRef, serverID))
	}
	f.attach(v, *s)
}

// DetachOutOfBand detaches a volume from a server.
func (f *Fake) DetachOutOfBand(volumeRef, serverID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef}); v != nil {
		f.detach(v, serverID)
	}
}

// WriteVolume writes p at an offset of off bytes, which should be small: a Fake keeps
// all bytes before it. Errors: CodeNotFound.
func (f *Fake) WriteVolume(ref string, off int, p []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.findVolume(backend.Key{Ref: ref})
	if v == nil {
		return backend.ErrNotFound
	}
	if grow := off + len(p) - len(v.data); grow > 0 {
		v.data = append(v.data, make([]byte, grow)...)
	}
	copy(v.data[off:], p)
	return nil
}

// ReadVolume reads n bytes at an offset of off bytes; what was never written is zero.
// Errors: CodeNotFound.
func (f *Fake) ReadVolume(ref string, off, n int) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.findVolume(backend.Key{Ref: ref})
	if v == nil {
		return nil, backend.ErrNotFound
	}
	p := make([]byte, n)
	if off < len(v.data) {
		copy(p, v.data[off:])
	}
	return p, nil
}

// EqualBytes reports whether a volume has the bytes of a snapshot.
func (f *Fake) EqualBytes(volumeRef, snapshotRef string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, s := f.findVolume(backend.Key{Ref: volumeRef}), f.findSnapshot(backend.Key{Ref: snapshotRef})
	return v != nil && s != nil && bytes.Equal(v.data, s.data)
}
