package worker_test

import (
	"context"

	"blockconsole/models/backend"
	"blockconsole/models/worker"
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

// staleWorker sweeps old pages.
func staleWorker(b *bench, s *stale) *worker.Worker {
	b.Helper()
	w := worker.New(b.store, s, worker.Options{Log: quiet, Lease: lease})
	if err := w.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	return w
}
