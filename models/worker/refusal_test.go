package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// TestEveryRefusalOfEveryKind: the operation fails with the backend's reason in
// the catalog's words, and the row is as the backend has it.
func TestEveryRefusalOfEveryKind(t *testing.T) {
	refusals := map[string]error{
		"failure.no_space":    &backend.Error{Code: backend.CodeNoSpace, Need: 5 << 30, Free: 1 << 30},
		"failure.quota":       &backend.Error{Code: backend.CodeQuota, What: "gigabytes", Used: 9, Limit: 10, Asked: 3},
		"failure.conflict":    &backend.Error{Code: backend.CodeConflict, Message: "no"},
		"failure.busy":        &backend.Error{Code: backend.CodeBusy, Dependents: []backend.Key{{ID: "1"}}},
		"failure.forbidden":   &backend.Error{Code: backend.CodeForbidden, Role: "admin"},
		"failure.invalid":     &backend.Error{Code: backend.CodeInvalid, Field: "name", Message: "no"},
		"failure.unsupported": backend.ErrUnsupported,
	}
	if slow { // the words are the same for all
		delete(refusals, "failure.quota")
		delete(refusals, "failure.forbidden")
		delete(refusals, "failure.invalid")
		delete(refusals, "failure.unsupported")
	}
	eachKind(t, func(b *bench, k kind) {
		for key, refusal := range refusals {
			b.Run(key, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				id := k.prepare(b)
				b.faulty.Inject(k.request, 1, backendtest.Fault{Err: refusal})
				op := b.asked(k.ask(b, id))
				b.work()
				b.failed(op, key)
				k.refused(b, op, key)
				if op.Kind == models.VolumeRepair || op.Kind == models.SnapshotRepair {
					return // the backend tells why it could not delete
				}
				b.sweep() // a listing does not know why: the reason stays
				k.refused(b, op, key)
			})
		}
	})
}

// refused expects the row of a refused operation.
func (k kind) refused(b *bench, op *models.Operation, key string) {
	b.Helper()
	type shown struct {
		status  models.Status
		name    string
		failure string
		object  bool
	}
	var row shown
	if op.SubjectType == models.SubjectSnapshot {
		s := b.snapshot(op.SubjectID)
		row = shown{s.Status, s.Name, s.Failure.Key, s.BackendID != ""}
	} else {
		v := b.volume(op.SubjectID)
		row = shown{v.Status, v.Name, v.Failure.Key, v.BackendID != ""}
	}
	want := shown{op.Params.PriorStatus, row.name, key, true}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore, models.SnapshotCreate:
		want.status, want.object = models.ErrorStatus, false
		if op.Params.ServerID != "" { // it was made, and could not be attached
			want.status, want.object, want.failure = models.Available, true, "failure.attach"
		}
	case models.VolumeEdit, models.SnapshotEdit:
		want = shown{models.Available, op.Params.OldName, "", true}
	}
	if row != want {
		b.Errorf("row %+v, want %+v", row, want)
	}
}

// TestRetryAfterARefusal: what was refused can be asked again, and succeeds when the
// reason is gone.
func TestRetryAfterARefusal(t *testing.T) {
	eachKind(t, func(b *bench, k kind) {
		id := k.prepare(b)
		b.faulty.Inject(k.request, 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeNoSpace, Need: 1, Free: 0}})
		op := b.asked(k.ask(b, id))
		b.work()
		failed := b.operation(op.ID)
		_, err := b.store.Queue.RetryOperation(b.Context(), me, op.ID)
		if !failed.Retryable() {
			if err == nil {
				b.Errorf("%s was retried", op.Kind)
			}
			return
		}
		if err != nil {
			b.Fatal(err)
		}
		b.work()
		k.check(b, id, op)
	})
}

// TestRetryOfWhatFailedLater: the backend accepted, made a wreck, and said why. The
// retry removes the wreck and makes the object.
func TestRetryOfWhatFailedLater(t *testing.T) {
	for _, k := range []kind{kinds[0], kinds[3], kinds[12], kinds[6], kinds[7], kinds[4], kinds[8]} {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			id := k.prepare(b)
			b.fake.FailNext(k.request, &backend.Error{Code: backend.CodeNoSpace, Need: 1, Free: 0})
			op := b.asked(k.ask(b, id))
			b.work()
			if failed := b.operation(op.ID); failed.State != models.Failed || failed.LastError.None() {
				b.Fatalf("%+v", failed)
			}
			b.sweep()
			if op.Kind == models.VolumeExtend { // the volume is in ERROR: an administrator decides
				if _, err := b.store.Queue.RetryOperation(b.Context(), me, op.ID); models.AsError(err) == nil {
					b.Error(err)
				}
				return
			}
			if _, err := b.store.Queue.RetryOperation(b.Context(), me, op.ID); err != nil {
				b.Fatal(err)
			}
			b.work()
			k.check(b, id, op)
		})
	}
}

func TestUnavailableIsAskedForEver(t *testing.T) {
	eachKind(t, func(b *bench, k kind) {
		id := k.prepare(b)
		op := b.asked(k.ask(b, id))
		b.faulty.Down(errors.New("no route to host"))
		began := b.clock.Now()
		for range 30 {
			b.look(1)
		}
		if op = b.operation(op.ID); op.State != models.Running || op.LastError.Key != "failure.unavailable" || op.Attempts == 0 {
			b.Fatalf("%+v", op)
		}
		if lasted := b.clock.Now().Sub(began); lasted < 5*time.Minute {
			b.Errorf("30 tries in %v", lasted)
		}
		b.faulty.Down(nil)
		b.work()
		k.check(b, id, op)
	})
}

func TestTheBackendSaysWhenToComeBack(t *testing.T) {
	b := newBench(t)
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	b.faulty.Inject("CreateVolume", 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeUnavailable, RetryAfter: 5 * time.Minute}})
	b.look(1)
	if next, err := b.store.Queue.NextDue(b.Context()); err != nil || next.Sub(b.clock.Now()) < 4*time.Minute {
		b.Errorf("next at %v, %v", next, err)
	}
	b.work()
	if op = b.operation(op.ID); op.State != models.Succeeded {
		b.Errorf("%+v", op)
	}
}

// TestANamelessFaultIsGivenUp and leaves a status from which one can go on.
func TestANamelessFaultIsGivenUp(t *testing.T) {
	eachKind(t, func(b *bench, k kind) {
		id := k.prepare(b)
		for n := range 20 {
			b.faulty.Inject(k.request, n+1, backendtest.Fault{Err: errStrange})
		}
		op := b.asked(k.ask(b, id))
		b.work()
		b.failed(op, "failure.internal")
		if op = b.operation(op.ID); op.Attempts != 7 {
			b.Errorf("given up after %d tries that were saved", op.Attempts)
		}
		var status models.Status
		var name string
		if op.SubjectType == models.SubjectSnapshot {
			status, name = b.snapshot(op.SubjectID).Status, b.snapshot(op.SubjectID).Name
		} else {
			status, name = b.volume(op.SubjectID).Status, b.volume(op.SubjectID).Name
		}
		if status.InTransition() {
			b.Errorf("left in %s", status)
		}
		if op.Params.OldName != "" && name != op.Params.OldName {
			b.Errorf("left with the name %q", name)
		}
	})
}

// TestSilenceLeavesTriesForOtherFaults: a nameless fault after a long silence is
// still tried again.
func TestSilenceLeavesTriesForOtherFaults(t *testing.T) {
	b := newBench(t)
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	b.faulty.Down(errors.New("restarting"))
	b.look(20)
	b.faulty.Down(nil)
	b.faulty.Inject("CreateVolume", 1, backendtest.Fault{Err: errStrange})
	b.work()
	if op = b.operation(op.ID); op.State != models.Succeeded {
		b.Errorf("%+v", op)
	}
}

func TestErrorDeletingIsRepaired(t *testing.T) {
	b := newBench(t)
	ctx := b.Context()
	for _, to := range []models.Status{models.ErrorStatus, models.Available} {
		id := brokenSnapshot(b)
		row := b.snapshot(id)
		if row.Status != models.ErrorDeleting || row.Failure.Key != "failure.conflict" {
			b.Fatalf("%+v", row)
		}
		if _, err := b.store.Snapshots.DeleteSnapshot(ctx, me, id, ""); models.AsError(err) == nil || models.AsError(err).Text.Key != "deny.error_deleting" {
			b.Errorf("%v", err)
		}
		b.fake.ForbidRepair("admin")
		refused := b.asked(b.store.Snapshots.RepairSnapshot(ctx, admin, models.RepairInput{ID: id, Reason: "looked", ResetTo: to}))
		b.work()
		b.failed(refused, "failure.forbidden")
		if row := b.snapshot(id); row.Status != models.ErrorDeleting || row.Failure.Key != "failure.forbidden" || row.Failure.Args[0] != "admin" {
			b.Errorf("%+v", row)
		}
		b.fake.ForbidRepair("")
		b.done(b.store.Snapshots.RepairSnapshot(ctx, admin, models.RepairInput{ID: id, Reason: "looked", ResetTo: to}))
		if row := b.snapshot(id); row.Status != to {
			b.Errorf("%+v", row)
		}
		b.done(b.store.Snapshots.DeleteSnapshot(ctx, me, id, ""))
	}
	b.same()
}

// TestRepairOfWhatIsGone: the record says so, and can be deleted.
func TestRepairOfWhatIsGone(t *testing.T) {
	b := newBench(t)
	id := brokenSnapshot(b)
	b.fake.RemoveSnapshot(id)
	b.done(b.store.Snapshots.RepairSnapshot(b.Context(), admin, models.RepairInput{ID: id, Reason: "looked", ResetTo: models.Available}))
	if row := b.snapshot(id); row.Status != models.ErrorStatus || row.Failure.Key != "failure.vanished" {
		b.Errorf("%+v", row)
	}
	b.done(b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, ""))
	b.same()
}

// TestOneOperationThatIsNeverAnswered: the storage does well otherwise, so the
// operation ends after an hour and lets go of the volume. While the storage is down
// everything waits.
func TestOneOperationThatIsNeverAnswered(t *testing.T) {
	for name, tt := range map[string]struct {
		down bool
		want models.OperationState
	}{"alone": {false, models.Failed}, "like the others": {true, models.Succeeded}} {
		t.Run(name, func(t *testing.T) {
			b := newCloudBench(t)
			b.fake.SetLag(0)
			id := b.newVolume("volume-1")
			b.sweep()
			op := b.asked(b.store.Volumes.ExtendVolume(b.Context(), me, id, "5", ""))
			if tt.down {
				b.fake.SetDown(&backend.Error{Code: backend.CodeUnavailable})
			}
			for n := 0; n < 200 && !tt.down; n++ {
				b.faulty.Inject("ExtendVolume", n+1, backendtest.Fault{})
			}
			for range 130 {
				if _, err := b.worker.RunDue(b.Context()); err != nil {
					t.Fatal(err)
				}
				if err := b.mirror.Resync(b.Context()); (err != nil) != tt.down {
					t.Fatal(err)
				}
				if !tt.down && b.clock.Now().Before(time.UnixMicro(op.AskedAt).Add(time.Hour)) && b.operation(op.ID).Finished() {
					t.Fatal("given up too early")
				}
				b.clock.Add(time.Minute)
			}
			b.fake.SetDown(nil)
			b.work()
			b.sweep()
			if got := b.operation(op.ID); got.State != tt.want {
				t.Fatalf("%+v", got)
			}
			if row := b.volume(id); row.Status != models.Available {
				t.Errorf("%+v", row)
			}
		})
	}
}
