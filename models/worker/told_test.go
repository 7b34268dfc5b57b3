package worker_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

// TestWhyAnAcceptedOperationFailed is asked of the backend where the object does
// not say, and stands in the operation and in the row, with the request's id.
func TestWhyAnAcceptedOperationFailed(t *testing.T) {
	reported := &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_008_099", Message: "create volume: something went wrong.", RequestID: "req-told"}
	known := &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_SNAPSHOT_010_015", Message: "delete snapshot:Snapshot is busy.", RequestID: "req-told"}
	for _, k := range kinds {
		if k.name == "volume.edit" || k.name == "snapshot.edit" || k.name == "volume.repair" || k.name == "snapshot.repair" {
			continue // done when they are accepted
		}
		for _, quiet := range []backendtest.SilentFailure{{LastFailure: reported}, {RolledBack: true, LastFailure: known}} {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.clock.Add(time.Second)
				id := k.prepare(b)
				making := k.request == "CreateVolume" || k.request == "CreateSnapshot"
				if quiet.RolledBack && (making || k.request == "RevertVolume") {
					return // nothing to go back to
				}
				b.fake.FailNext(k.request, quiet)
				op := b.asked(k.ask(b, id))
				b.work()
				key, text := "failure.reported", reported.Message
				if quiet.RolledBack {
					key, text = "failure.reported.015", known.Message
				}
				b.failed(op, key)
				op = b.operation(op.ID)
				if len(op.LastError.Args) == 0 || op.LastError.Args[0] != text || op.RequestID != "req-told" {
					t.Errorf("%+v, request %q", op.LastError, op.RequestID)
				}
				want := key
				if op.Params.ServerID != "" && op.Kind != models.VolumeAttach && op.Kind != models.VolumeDetach {
					want = "failure.attach"
				}
				for range 2 { // and it stays, whatever a listing says
					failure, request := b.failureOf(op)
					if failure.Key != want || request != "req-told" {
						t.Errorf("%+v, request %q", failure, request)
					}
					b.sweep()
				}
			})
		}
	}
}

// failureOf is what the row of an operation's subject says.
func (b *bench) failureOf(op *models.Operation) (models.Failure, string) {
	b.Helper()
	if op.SubjectType == models.SubjectSnapshot {
		row := b.snapshot(op.SubjectID)
		return row.Failure, row.RequestID
	}
	row := b.volume(op.SubjectID)
	return row.Failure, row.RequestID
}

// TestDependentsAreNamed: a busy snapshot's volumes, known to the console or not.
func TestDependentsAreNamed(t *testing.T) {
	b := newBench(t)
	id := aSnapshot(b)
	child := b.done(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "child-1", SnapshotID: id})).SubjectID
	keys := []backend.Key{{Ref: child}, {ID: "of-another-console"}}
	want := []models.Dependent{{Type: models.SubjectVolume, ID: child, Name: "child-1"}, {Type: models.SubjectVolume, ID: "of-another-console"}}

	b.faulty.Inject("DeleteSnapshot", 1, backendFault(&backend.Error{Code: backend.CodeBusy, Dependents: keys}))
	refused := b.asked(b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, ""))
	b.work()
	b.fake.FailDelete(id, backendtest.SilentFailure{RolledBack: true, LastFailure: &backend.Error{Code: backend.CodeBusy, Dependents: keys, RequestID: "req-busy"}})
	later := b.asked(b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, ""))
	b.work()
	for _, op := range []*models.Operation{refused, later} {
		b.failed(op, "failure.busy")
		if op = b.operation(op.ID); !slices.Equal(op.LastError.Dependents, want) {
			t.Errorf("%+v", op.LastError)
		}
	}
	if row := b.snapshot(id); row.Status != models.Available || !slices.Equal(row.Failure.Dependents, want) || row.Failure.Args[0] != "2" {
		t.Errorf("%+v", row)
	}
	b.fake.FailNext("DeleteVolume", backendtest.SilentFailure{RolledBack: true, LastFailure: &backend.Error{Code: backend.CodeBusy, Dependents: []backend.Key{{Ref: id}}}})
	volume := b.newVolume("volume-2")
	op := b.asked(b.store.Volumes.DeleteVolume(b.Context(), me, volume, ""))
	b.work()
	b.failed(op, "failure.busy")
	if row := b.volume(volume); len(row.Failure.Dependents) != 1 || row.Failure.Dependents[0] != (models.Dependent{Type: models.SubjectSnapshot, ID: id, Name: "snap-1"}) {
		t.Errorf("%+v", row.Failure)
	}
}

// TestNothingTold: what the backend does not explain fails as it did, and one that
// does not answer is asked a few times.
func TestNothingTold(t *testing.T) {
	for silent, want := range map[int]string{0: "failure.delete_refused", 2: "failure.reported.016", 5: "failure.delete_refused"} {
		b := newBench(t)
		b.clock.Add(time.Second)
		id := aSnapshot(b)
		quiet := backendtest.SilentFailure{RolledBack: true}
		if silent > 0 {
			quiet.LastFailure = &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_SNAPSHOT_010_016", Message: "no"}
		}
		for n := range silent {
			b.faulty.Inject("LastFailure", n+1, backendtest.Fault{})
		}
		b.fake.FailDelete(id, quiet)
		op := b.asked(b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, ""))
		b.work()
		b.failed(op, want)
		if b.faulty.Calls("DeleteSnapshot") != 1 {
			t.Errorf("silent %d times: deleted %d times", silent, b.faulty.Calls("DeleteSnapshot"))
		}
	}
}

// TestAnOldMessageIsNotTheReason of a failure of today.
func TestAnOldMessageIsNotTheReason(t *testing.T) {
	b := newBench(t)
	id := aSnapshot(b)
	b.fake.SetLastFailure(id, &backend.Error{Code: backend.CodeReported, Message: "long ago"})
	b.clock.Add(time.Hour)
	b.fake.FailDelete(id, backendtest.SilentFailure{RolledBack: true})
	op := b.asked(b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, ""))
	b.work()
	b.failed(op, "failure.delete_refused")
}

// TestErrorsElsewhereAreExplained once each, so many at a time.
func TestErrorsElsewhereAreExplained(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	v := b.fake.PutVolume(backend.Volume{Name: "of-others", State: backend.State{Status: backend.ErrorStatus, Percent: -1}})
	b.fake.SetLastFailure(v.ID, &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_001_003", Message: "schedule allocate volume:no", RequestID: "req-9"})
	for range 15 {
		b.fake.PutSnapshot(backend.Snapshot{Name: "broken", Volume: v.Key, State: backend.State{Status: backend.ErrorDeleting, Percent: -1}})
	}
	b.sweep()
	row, err := b.store.Volumes.Volume(t.Context(), me, v.ID)
	if err != nil || row.Failure.Key != "failure.reported.003" || row.RequestID != "req-9" || row.Status != models.ErrorStatus {
		t.Fatalf("%+v, %v", row, err)
	}
	b.sweep()
	if n := b.faulty.Calls("LastFailure"); n != 10 {
		t.Errorf("%d questions at once", n)
	}
	for range 3 {
		b.clock.Add(time.Minute)
		b.sweep()
	}
	if n := b.faulty.Calls("LastFailure"); n != 16 {
		t.Errorf("%d questions in all", n)
	}
	if row, err = b.store.Volumes.Volume(t.Context(), me, v.ID); err != nil || row.Failure.Key != "failure.reported.003" {
		t.Errorf("%+v, %v", row, err)
	}
	// It is repaired elsewhere and fails once more, for another reason.
	b.fake.PutVolume(backend.Volume{Key: v.Key, Name: "of-others"})
	b.sweep()
	b.fake.PutVolume(backend.Volume{Key: v.Key, Name: "of-others", State: backend.State{Status: backend.ErrorStatus, Percent: -1}})
	b.fake.SetLastFailure(v.ID, &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_007_010", Message: "extend"})
	b.sweep()
	if row, err = b.store.Volumes.Volume(t.Context(), me, v.ID); err != nil || row.Failure.Key != "failure.reported.010" {
		t.Errorf("%+v, %v", row, err)
	}
}

// TestWhyNothingCanBeRead is said in other words for each cause.
func TestWhyNothingCanBeRead(t *testing.T) {
	b := newCloudBench(t)
	for _, cause := range []backend.Cause{"", backend.Credentials, backend.Token, backend.TooMany, backend.Certificate, backend.Clock} {
		b.faulty.Inject("Volumes", 1, backendFault(&backend.Error{Code: backend.CodeUnavailable, Cause: cause}))
		if err := b.mirror.Resync(t.Context()); err == nil {
			t.Error("no error")
		}
		want := "failure." + cmp.Or(string(cause), "unavailable")
		if m, err := b.store.Sync.SyncState(t.Context(), models.SubjectVolume); err != nil || m.Failure.Key != want {
			t.Errorf("%q: %+v, %v", cause, m.Failure, err)
		}
	}
}

// TestRefusedCredentialsAreWaitedFor, and said.
func TestRefusedCredentialsAreWaitedFor(t *testing.T) {
	b := newCloudBench(t)
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	refused := &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials}
	for n := range 12 {
		b.faulty.Inject("CreateVolume", n+1, backendFault(refused))
	}
	b.look(1)
	if now := b.operation(op.ID); now.State != models.Running || now.LastError.Key != "failure.credentials" {
		t.Errorf("%+v", now)
	}
	b.faulty.Inject("Volumes", 1, backendFault(refused))
	if err := b.mirror.Resync(t.Context()); err == nil {
		t.Error("no error")
	}
	if m, err := b.store.Sync.SyncState(t.Context(), models.SubjectVolume); err != nil || m.Failure.Key != "failure.credentials" || m.FailedSince == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	b.done(op, nil)
}
