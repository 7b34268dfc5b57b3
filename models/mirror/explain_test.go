package mirror_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/worker/workertest"
)

// TestExplain_ErrorsElsewhere expects one LastFailure call for each object in error, ten a
// minute.
func TestExplain_ErrorsElsewhere(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	v := h.Fake.PutVolume(backend.Volume{Name: "of-others", State: backend.State{Status: backend.ErrorStatus, Percent: -1}})
	h.Fake.SetLastFailure(v.ID, &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_001_003", Message: "schedule allocate volume:no", RequestID: "req-9"})
	for range 15 {
		h.Fake.PutSnapshot(backend.Snapshot{Name: "broken", Volume: v.Key, State: backend.State{Status: backend.ErrorDeleting, Percent: -1}})
	}
	h.Resync()
	row, err := h.Store.Volumes.Volume(t.Context(), operator, v.ID)
	if err != nil || row.Failure.Key != "failure.reported.003" || row.RequestID != "req-9" || row.Status != models.ErrorStatus {
		t.Fatalf("%+v, %v", row, err)
	}
	h.Resync()
	if n := h.Faulty.Calls("LastFailure"); n != 10 {
		t.Errorf("%d calls in a minute", n)
	}
	for range 3 {
		h.Clock.Add(time.Minute)
		h.Resync()
	}
	if n := h.Faulty.Calls("LastFailure"); n != 16 {
		t.Errorf("%d calls", n)
	}
	if row, err = h.Store.Volumes.Volume(t.Context(), operator, v.ID); err != nil || row.Failure.Key != "failure.reported.003" {
		t.Errorf("%+v, %v", row, err)
	}
	// Repaired elsewhere, it fails again for another reason.
	h.Fake.PutVolume(backend.Volume{Key: v.Key, Name: "of-others"})
	h.Resync()
	h.Fake.PutVolume(backend.Volume{Key: v.Key, Name: "of-others", State: backend.State{Status: backend.ErrorStatus, Percent: -1}})
	h.Fake.SetLastFailure(v.ID, &backend.Error{Code: backend.CodeReported, EventID: "VOLUME_VOLUME_007_010", Message: "extend"})
	h.Resync()
	if row, err = h.Store.Volumes.Volume(t.Context(), operator, v.ID); err != nil || row.Failure.Key != "failure.reported.010" {
		t.Errorf("%+v, %v", row, err)
	}
}
