package worker_test

import (
	"context"

	"blockconsole/models/backend"
	"blockconsole/models/mirror"
)

// stale answers listings with what was there when they were asked for, and lets
// things happen while the answer is on its way.
type stale struct {
	backend.Backend
	volumes                        backend.Page[backend.Volume]
	snapshots                      backend.Page[backend.Snapshot]
	duringVolumes, duringSnapshots func()
}

func (s *stale) Volumes(context.Context, string, int) (backend.Page[backend.Volume], error) {
	s.duringVolumes()
	return s.volumes, nil
}

func (s *stale) Snapshots(context.Context, string, int) (backend.Page[backend.Snapshot], error) {
	s.duringSnapshots()
	return s.snapshots, nil
}

// staleMirror copies old pages.
func staleMirror(b *bench, s *stale) *mirror.Mirror {
	b.Helper()
	m, _ := workerOn(b, s, lease)
	if err := m.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	return m
}
