package worker_test

import (
	"slices"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/worker/workertest"
)

// rotten is damage of the snapshot with this id, as a check finds it.
func rotten(id string) *backend.Error {
	return &backend.Error{Code: backend.CodeDamaged, Damage: backend.BadBlocks, Path: "/srv/" + id, Blocks: []int64{7}, Bad: 1, BlockBytes: 4 << 20, Want: 1 << 30}
}

func TestCheck_Damage(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolumeAndSnapshot()
	h.Succeed(h.Store.Snapshots.CheckSnapshot(h.Context(), admin, models.CheckInput{ID: id}))
	if row := h.Snapshot(id); row.Checks.ChecksummedAt == 0 || row.Checks.CheckedAt != 0 {
		t.Errorf("the first check computes: %+v", row.Checks)
	}
	h.Succeed(h.Store.Snapshots.CheckSnapshot(h.Context(), admin, models.CheckInput{ID: id}))
	if row := h.Snapshot(id); row.Checks.CheckedAt == 0 {
		t.Errorf("the second check compares: %+v", row.Checks)
	}
	h.Fake.SetDamage(id, rotten(id))
	op := h.Accepted(h.Store.Snapshots.CheckSnapshot(h.Context(), admin, models.CheckInput{ID: id}))
	h.RunQueue()
	h.WantFailed(op, "failure.blocks")
	for range 2 { // a listing says it too
		row := h.Snapshot(id)
		if row.Status != models.Available || !row.Failure.None() || row.Checks.Damage.Key != "failure.blocks" ||
			!slices.Equal(row.Checks.Damage.Args, []string{"/srv/" + id, "1", "7", "29360128", "33554431"}) {
			t.Errorf("damaged: %s, %+v", row.Status, row.Checks)
		}
		h.Resync()
	}
	h.Succeed(h.Store.Snapshots.CheckSnapshot(h.Context(), admin, models.CheckInput{ID: id, Renew: true}))
	if row := h.Snapshot(id); !row.Checks.Damage.None() || row.Checks.CheckedAt != 0 {
		t.Errorf("renewed: %+v", row.Checks)
	}
	h.WantInSync()
}

// TestCheck_OneAfterTheOther: checks wait for each other, and nothing waits for them; those
// that have not begun are cancelled.
func TestCheck_OneAfterTheOther(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateVolume("volume-1")
	first, second := h.CreateSnapshot(volume, "snap-1"), h.CreateSnapshot(volume, "snap-2")
	ids, err := h.Store.Snapshots.UncheckedSnapshots(h.Context(), admin)
	if err != nil || !slices.Equal(ids, []string{first, second}) {
		t.Fatalf("%v, %v, want %s and %s", ids, err, first, second)
	}
	h.Fake.Hold()
	running := h.Accepted(h.Store.Snapshots.CheckSnapshot(h.Context(), admin, models.CheckInput{ID: first}))
	waiting := h.Accepted(h.Store.Snapshots.CheckSnapshot(h.Context(), admin, models.CheckInput{ID: second}))
	if ids, err = h.Store.Snapshots.UncheckedSnapshots(h.Context(), admin); err != nil || len(ids) > 0 {
		t.Errorf("they wait already: %v, %v", ids, err)
	}
	h.Reconcile(3)
	if op := h.Operation(waiting.ID); op.StartedAt > 0 || !op.Cancellable() {
		t.Errorf("the second has begun: %+v", op)
	}
	if n := h.Fake.Calls("CheckSnapshot"); n != 1 {
		t.Errorf("%d checks asked for", n)
	}
	if _, err := h.Store.Queue.CancelOperation(h.Context(), admin, waiting.ID); err != nil {
		t.Fatal(err)
	}
	if row := h.Snapshot(second); row.Status != models.Available {
		t.Errorf("after the cancel: %+v", row)
	}
	h.Fake.Auto()
	h.RunQueue()
	if op := h.Operation(running.ID); op.State != models.Succeeded {
		t.Errorf("the first: %+v", op)
	}
}
