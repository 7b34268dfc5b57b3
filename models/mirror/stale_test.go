package mirror_test

import (
	"context"

	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/worker/workertest"
)

// stale is a backend whose listings return older pages, while duringVolumes and
// duringSnapshots change the objects.
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

// staleMirror makes a mirror of the stale backend.
func staleMirror(h *workertest.Harness, s *stale) *mirror.Mirror {
	h.Helper()
	m, _ := h.NewWorker(s, workertest.Lease)
	if err := m.Start(h.Context()); err != nil {
		h.Fatal(err)
	}
	return m
}
