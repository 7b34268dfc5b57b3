package worker_test

import (
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/worker/workertest"
)

// TestRefusal_EveryKind expects the failure of each refusal, and the row as the backend has it.
func TestRefusal_EveryKind(t *testing.T) {
	refusals := map[string]error{
		"failure.no_space":    &backend.Error{Code: backend.CodeNoSpace, Need: 5 << 30, Free: 1 << 30},
		"failure.quota":       &backend.Error{Code: backend.CodeQuota, What: "gigabytes", Used: 9, Limit: 10, Asked: 3},
		"failure.conflict":    &backend.Error{Code: backend.CodeConflict, Message: "no"},
		"failure.busy":        &backend.Error{Code: backend.CodeBusy, Dependents: []backend.Key{{ID: "1"}}},
		"failure.forbidden":   &backend.Error{Code: backend.CodeForbidden, Role: "admin"},
		"failure.invalid":     &backend.Error{Code: backend.CodeInvalid, Field: "name", Message: "no"},
		"failure.unsupported": backend.ErrUnsupported,
	}
	if slow { // failures do not depend on the kind
		delete(refusals, "failure.quota")
		delete(refusals, "failure.forbidden")
		delete(refusals, "failure.invalid")
		delete(refusals, "failure.unsupported")
	}
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		for key, refusal := range refusals {
			h.Run(key, func(t *testing.T) {
				t.Parallel()
				h := workertest.New(t)
				id := k.Prepare(h)
				h.Faulty.Inject(k.Request, 1, backendtest.Fault{Err: refusal})
				op := h.Accepted(k.Enqueue(h, id))
				h.RunQueue()
				h.WantFailed(op, key)
				switch op.Kind {
				case models.SnapshotCheck:
					return // nothing is wrong with the snapshot
				case models.VolumeLock, models.VolumeUnlock, models.SnapshotLock, models.SnapshotUnlock:
					wantInForce(h, op)
					return
				}
				wantRefused(h, op, key)
				if op.Kind == models.VolumeRepair || op.Kind == models.SnapshotRepair {
					return // the listing has the reason of the failed deletion
				}
				h.Resync() // a listing has no reason: the row keeps it
				wantRefused(h, op, key)
			})
		}
	})
}

// wantInForce expects that a lock, or its end, that the storage could not keep is in the row,
// which is otherwise as it was.
func wantInForce(h *workertest.Harness, op *models.Operation) {
	h.Helper()
	var status models.Status
	var failure models.Failure
	var lock models.Lock
	if op.SubjectType == models.SubjectSnapshot {
		row := h.Snapshot(op.SubjectID)
		status, failure, lock = row.Status, row.Failure, row.Lock
	} else {
		row := h.Volume(op.SubjectID)
		status, failure, lock = row.Status, row.Failure, row.Lock
	}
	if status != models.Available || !failure.None() || lock.Locked() == (op.Kind == models.VolumeUnlock || op.Kind == models.SnapshotUnlock) {
		h.Errorf("%s: %s %+v %+v", op.Kind, status, failure, lock)
	}
}

// TestRefusal_Dependents expects the dependents of CodeBusy in the failure, with and without a
// row.
func TestRefusal_Dependents(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolumeAndSnapshot()
	child := h.Succeed(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "child-1", SnapshotID: id})).SubjectID
	keys := []backend.Key{{Ref: child}, {ID: "of-another-console"}}
	want := []models.Dependent{{Type: models.SubjectVolume, ID: child, Name: "child-1"}, {Type: models.SubjectVolume, ID: "of-another-console"}}

	h.Faulty.Inject("DeleteSnapshot", 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeBusy, Dependents: keys}})
	refused := h.Accepted(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, ""))
	h.RunQueue()
	h.Fake.FailDelete(id, backendtest.SilentFailure{RolledBack: true, LastFailure: &backend.Error{Code: backend.CodeBusy, Dependents: keys, RequestID: "req-busy"}})
	later := h.Accepted(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, ""))
	h.RunQueue()
	for _, op := range []*models.Operation{refused, later} {
		h.WantFailed(op, "failure.busy")
		if op = h.Operation(op.ID); !slices.Equal(op.LastError.Dependents, want) {
			t.Errorf("%+v", op.LastError)
		}
	}
	if row := h.Snapshot(id); row.Status != models.Available || !slices.Equal(row.Failure.Dependents, want) || row.Failure.Args[0] != "2" {
		t.Errorf("%+v", row)
	}
	h.Fake.FailNext("DeleteVolume", backendtest.SilentFailure{RolledBack: true, LastFailure: &backend.Error{Code: backend.CodeBusy, Dependents: []backend.Key{{Ref: id}}}})
	volume := h.CreateVolume("volume-2")
	op := h.Accepted(h.Store.Volumes.DeleteVolume(h.Context(), operator, volume, ""))
	h.RunQueue()
	h.WantFailed(op, "failure.busy")
	if row := h.Volume(volume); len(row.Failure.Dependents) != 1 || row.Failure.Dependents[0] != (models.Dependent{Type: models.SubjectSnapshot, ID: id, Name: "snap-1"}) {
		t.Errorf("%+v", row.Failure)
	}
}

// TestAcceptedFailure_NotReported expects a failure of its own when LastFailure has none, after a
// few attempts when it does not answer.
func TestAcceptedFailure_NotReported(t *testing.T) {
	t.Parallel()
	for silent, want := range map[int]string{0: "failure.delete_refused", 2: "failure.reported.016", 5: "failure.delete_refused"} {
		h := workertest.New(t)
		h.Clock.Add(time.Second)
		id := h.CreateVolumeAndSnapshot()
		quiet := backendtest.SilentFailure{RolledBack: true}
		if silent > 0 {
			quiet.LastFailure = &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_SNAPSHOT_010_016", Message: "no"}
		}
		for n := range silent {
			h.Faulty.Inject("LastFailure", n+1, backendtest.Fault{})
		}
		h.Fake.FailDelete(id, quiet)
		op := h.Accepted(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, ""))
		h.RunQueue()
		h.WantFailed(op, want)
		if h.Faulty.Calls("DeleteSnapshot") != 1 {
			t.Errorf("silent %d times: deleted %d times", silent, h.Faulty.Calls("DeleteSnapshot"))
		}
	}
}

// TestAcceptedFailure_OldReport ignores a report that is older than the operation.
func TestAcceptedFailure_OldReport(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolumeAndSnapshot()
	h.Fake.SetLastFailure(id, &backend.Error{Code: backend.CodeReported, Message: "long ago"})
	h.Clock.Add(time.Hour)
	h.Fake.FailDelete(id, backendtest.SilentFailure{RolledBack: true})
	op := h.Accepted(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, ""))
	h.RunQueue()
	h.WantFailed(op, "failure.delete_refused")
}

// TestAcceptedFailure_Reported expects the reason of LastFailure in the operation and the row,
// with the id of the request.
func TestAcceptedFailure_Reported(t *testing.T) {
	t.Parallel()
	reported := &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_008_099", Message: "create volume: something went wrong.", RequestID: "req-told"}
	known := &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_SNAPSHOT_010_015", Message: "delete snapshot:Snapshot is busy.", RequestID: "req-told"}
	for _, k := range workertest.Kinds {
		if slices.Contains([]string{"volume.edit", "snapshot.edit", "volume.repair", "snapshot.repair", "snapshot.check", "snapshot.attach", "snapshot.detach",
			"volume.lock", "volume.unlock", "snapshot.lock", "snapshot.unlock"}, k.Name) {
			continue // what the backend accepts is done
		}
		for _, quiet := range []backendtest.SilentFailure{{LastFailure: reported}, {RolledBack: true, LastFailure: known}} {
			t.Run(k.Name, func(t *testing.T) {
				t.Parallel()
				h := workertest.New(t)
				h.Clock.Add(time.Second)
				id := k.Prepare(h)
				making := k.Request == "CreateVolume" || k.Request == "CreateSnapshot"
				if quiet.RolledBack && (making || k.Request == "RevertVolume") {
					return // cannot roll back
				}
				h.Fake.FailNext(k.Request, quiet)
				op := h.Accepted(k.Enqueue(h, id))
				h.RunQueue()
				key, text := "failure.reported", reported.Message
				if quiet.RolledBack {
					key, text = "failure.reported.015", known.Message
				}
				h.WantFailed(op, key)
				op = h.Operation(op.ID)
				if len(op.LastError.Args) == 0 || op.LastError.Args[0] != text || op.RequestID != "req-told" {
					t.Errorf("%+v, request %q", op.LastError, op.RequestID)
				}
				want := key
				if op.Params.ServerID != "" && op.Kind != models.VolumeAttach && op.Kind != models.VolumeDetach {
					want = "failure.attach"
				}
				for range 2 { // resyncs keep it
					failure, request := h.FailureOf(op)
					if failure.Key != want || request != "req-told" {
						t.Errorf("%+v, request %q", failure, request)
					}
					h.Resync()
				}
			})
		}
	}
}

// wantRefused expects the row after a refusal.
func wantRefused(h *workertest.Harness, op *models.Operation, key string) {
	h.Helper()
	type shown struct {
		status  models.Status
		name    string
		failure string
		object  bool
	}
	var row shown
	if op.SubjectType == models.SubjectSnapshot {
		s := h.Snapshot(op.SubjectID)
		row = shown{s.Status, s.Name, s.Failure.Key, s.BackendID != ""}
	} else {
		v := h.Volume(op.SubjectID)
		row = shown{v.Status, v.Name, v.Failure.Key, v.BackendID != ""}
	}
	want := shown{op.Params.PriorStatus, row.name, key, true}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore, models.SnapshotCreate:
		want.status, want.object = models.ErrorStatus, false
		if op.Params.ServerID != "" { // created, not attached
			want.status, want.object, want.failure = models.Available, true, "failure.attach"
		}
	case models.VolumeEdit, models.SnapshotEdit:
		want = shown{models.Available, op.Params.OldName, "", true}
	}
	if row != want {
		h.Errorf("row %+v, want %+v", row, want)
	}
}
