package store_test

import (
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// concurrently runs fn in n goroutines that start together, and returns their results.
func concurrently[T any](n int, fn func(i int) (T, error)) ([]T, []error) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	results, errs := make([]T, n), make([]error, n)
	for i := range n {
		wg.Go(func() {
			<-start
			results[i], errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return results, errs
}

func enqueueVolume(t *testing.T, db *store.Store, name string) *models.Operation {
	t.Helper()
	op, err := db.Volumes.CreateVolume(t.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: "1"})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// createVolume creates a volume, and returns its id.
func createVolume(t *testing.T, db *store.Store, name string) string {
	t.Helper()
	id := enqueueVolume(t, db, name).SubjectID
	op := claim(t, db)
	if op.SubjectID != id {
		t.Fatalf("claimed %s of %s", op.Kind, op.SubjectID)
	}
	finish(t, db, op, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1, BackendID: "b-" + id})
	return id
}

func claim(t *testing.T, db *store.Store) *models.Operation {
	t.Helper()
	op, err := db.Queue.Claim(t.Context(), "w-"+models.NewID(), time.Minute)
	if err != nil || op == nil {
		t.Fatalf("nothing claimed: %v", err)
	}
	return op
}

func wantNoClaim(t *testing.T, db *store.Store, when string) {
	t.Helper()
	if op, err := db.Queue.Claim(t.Context(), "w", time.Minute); op != nil || err != nil {
		t.Fatalf("%s: claimed %+v, %v", when, op, err)
	}
}

func finish(t *testing.T, db *store.Store, op *models.Operation, state models.OperationState, o store.ObservedState) {
	t.Helper()
	if err := db.Queue.SaveProgress(t.Context(), op, store.Progress{State: state, Step: op.Steps, Percent: -1, Subject: &o}); err != nil {
		t.Fatal(err)
	}
}

// must ends the test when there is an error that is not a refusal.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil && models.AsError(err) == nil {
			t.Fatal(err)
		}
	}
}

// attach makes the row IN-USE by a server.
func attach(t *testing.T, db *store.Store, volume, server string) {
	t.Helper()
	row, err := db.Volumes.VolumeByID(t.Context(), volume)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{{ID: row.ID, BackendID: row.BackendID, Name: row.Name, SizeGiB: row.SizeGiB,
		ObservedState: store.ObservedState{Status: models.InUse, Percent: -1, Attachments: &[]backend.Attachment{{ServerID: server, ServerName: server}}}}}, db.Now())
	if err != nil {
		t.Fatal(err)
	}
}

// failAll claims all operations and fails them.
func failAll(t *testing.T, db *store.Store, clock *storetest.Clock) {
	t.Helper()
	ctx := t.Context()
	for {
		_, err := db.Queue.NextDue(ctx)
		must(t, err)
		op, err := db.Queue.Claim(ctx, "w", time.Minute)
		must(t, err)
		if op == nil {
			return
		}
		must(t, db.Queue.Heartbeat(ctx, op, time.Minute), db.Queue.RecordCall(ctx, op), db.Queue.ForgetCall(ctx, op, 0),
			db.Queue.SaveProgress(ctx, op, store.Progress{State: models.Failed, RunAt: clock.Now(), CountAttempt: true, RequestID: "r",
				Subject: &store.ObservedState{Status: models.ErrorStatus, Percent: -1, Failure: models.NewFailure("failure.internal")}}))
	}
}

// fieldKeys are the keys of the texts of an error by field.
func fieldKeys(err error) map[string]string {
	fields := map[string]string{}
	if e := models.AsError(err); e != nil {
		for name, text := range e.Fields {
			fields[name] = text.Key
		}
	}
	return fields
}

// availableVolume imports a volume from the backend, and returns its id.
func availableVolume(t *testing.T, db *store.Store, name string) string {
	t.Helper()
	ids, err := db.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{{ID: models.NewID(), BackendID: "b-" + name, Project: models.DefaultProject, Name: name, SizeGiB: 1,
		CreatedAt: db.Now(), ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}}, db.Now())
	if err != nil || len(ids) != 1 {
		t.Fatalf("%v %v", ids, err)
	}
	return ids[0]
}

var capabilities = models.Capabilities{Attach: true, Revert: true, ExtendAttached: true, Repair: true, FreeBytes: -1, MaxSizeGiB: -1}
