package worker_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/worker/workertest"
)

// countReconciliations runs the queue, and returns how many reconciliations it took.
func countReconciliations(h *workertest.Harness) int {
	for n := 0; ; n++ {
		if !h.AdvanceToDue() {
			return n
		}
		h.Reconcile(1)
	}
}

// TestCrash_EveryReconciliation kills the worker between the backend's answer and the save, at
// every reconciliation of every kind: the next worker continues or repeats it, and one object
// exists at the end.
func TestCrash_EveryReconciliation(t *testing.T) {
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		id := k.Prepare(h)
		h.Accepted(k.Enqueue(h, id))
		total := countReconciliations(h)
		for at := range total {
			h.Run(fmt.Sprintf("reconciliation %d of %d", at+1, total), func(t *testing.T) {
				t.Parallel()
				h := workertest.New(t)
				id := k.Prepare(h)
				op := h.Accepted(k.Enqueue(h, id))
				h.Reconcile(at)
				crash(h)
				wantRecovery(h, k, id, op)
			})
		}
		h.Run("every reconciliation", func(t *testing.T) {
			t.Parallel()
			h := workertest.New(t)
			id := k.Prepare(h)
			op := h.Accepted(k.Enqueue(h, id))
			for range total {
				if h.AdvanceToDue(); h.Operation(op.ID).Finished() {
					break
				}
				crash(h)
				h.Reconcile(1)
			}
			wantRecovery(h, k, id, op)
		})
	})
}

// crash reconciles without saving, replaces the worker, and lets the lease expire.
func crash(h *workertest.Harness) {
	h.Helper()
	h.AdvanceToDue()
	if op, err := h.Worker.ReconcileAndDie(h.Context()); err != nil || op == nil {
		h.Fatalf("nothing to reconcile: %v", err)
	}
	h.Restart()
	if n, err := h.Worker.RunDue(h.Context()); n != 0 || err != nil {
		h.Fatalf("%d reconciliations before the lease expired, %v", n, err)
	}
	h.Clock.Add(workertest.Lease + time.Second)
}

func wantRecovery(h *workertest.Harness, k workertest.Kind, id string, op *models.Operation) {
	h.Helper()
	h.RunQueue()
	if k.Name == "volume.revert" {
		h.RunQueue() // it may revert twice, to the same bytes
	}
	k.Check(h, id, op)
}

// TestFault_EveryCall fails each call of each method once, before or after its effect.
func TestFault_EveryCall(t *testing.T) {
	methods := []string{"Volume", "Snapshot", "CreateVolume", "CreateSnapshot", "RenameVolume", "RenameSnapshot", "ExtendVolume", "DeleteVolume",
		"DeleteSnapshot", "RevertVolume", "AttachVolume", "DetachVolume", "RepairVolume", "RepairSnapshot", "CheckSnapshot", "SetLock"}
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		id := k.Prepare(h)
		before := map[string]int{}
		for _, m := range methods {
			before[m] = h.Faulty.Calls(m)
		}
		h.Accepted(k.Enqueue(h, id))
		h.RunQueue()
		for _, m := range methods {
			for n := 1; n <= h.Faulty.Calls(m)-before[m]; n++ {
				faults := []backendtest.Fault{{}, {Err: workertest.ErrInternal, After: true}, {After: true}, {Err: workertest.ErrInternal}}
				if slow {
					faults = faults[:2]
				}
				for _, fault := range faults {
					h.Run(fmt.Sprintf("%s %d %v", m, n, fault), func(t *testing.T) {
						t.Parallel()
						h := workertest.New(t)
						id := k.Prepare(h)
						h.Faulty.Inject(m, n, fault)
						op := h.Accepted(k.Enqueue(h, id))
						h.RunQueue()
						k.Check(h, id, op)
					})
				}
			}
		}
	})
}

// notIdempotent are the kinds whose effect shows when they are carried out twice.
func notIdempotent() []workertest.Kind {
	return slices.DeleteFunc(slices.Clone(workertest.Kinds), func(k workertest.Kind) bool {
		return slices.Contains([]string{"volume.edit", "snapshot.edit", "volume.repair", "snapshot.repair", "volume.create from image"}, k.Name)
	})
}

// TestCrash_SharedBackend is TestCrash_EveryReconciliation in a cloud.
func TestCrash_SharedBackend(t *testing.T) {
	t.Parallel()
	for _, k := range notIdempotent() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			h := workertest.NewCloud(t)
			id := k.Prepare(h)
			h.Accepted(k.Enqueue(h, id))
			total := countReconciliations(h)
			for at := range total {
				h := workertest.NewCloud(t)
				id := k.Prepare(h)
				op := h.Accepted(k.Enqueue(h, id))
				h.Reconcile(at)
				crash(h)
				h.RunQueue()
				k.Check(h, id, op)
				if t.Failed() {
					t.Fatalf("died at reconciliation %d of %d", at+1, total)
				}
			}
		})
	}
}

// TestFault_SharedBackend loses the request or the response of every call in a cloud.
func TestFault_SharedBackend(t *testing.T) {
	t.Parallel()
	for _, k := range notIdempotent() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range []backendtest.Fault{{}, {After: true}} {
				for _, method := range []string{k.Request, "Volume", "Snapshot"} {
					for n := 1; n <= 3; n++ {
						h := workertest.NewCloud(t)
						id := k.Prepare(h)
						h.Faulty.Inject(method, n, fault)
						op := h.Accepted(k.Enqueue(h, id))
						h.RunQueue()
						k.Check(h, id, op)
						if t.Failed() {
							t.Fatalf("%s %d %+v", method, n, fault)
						}
						if h.Faulty.Calls(method) < n {
							break
						}
					}
				}
			}
		})
	}
}
