package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

func TestDetach_WaitsUntilForced(t *testing.T) {
	t.Parallel()
	h, server := workertest.NewExporter(t)
	id := h.CreateAttached("data-1", server)
	h.Fake.Connect(id, server, "10.0.0.5:43210")
	h.Must(h.Mirror.SyncConnections(t.Context()))
	waiting, err := h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, server, false, "")
	h.Must(err)
	h.RunFor(5)
	v := h.Volume(id)
	if v.Status != models.Detaching || len(v.Connections) != 1 {
		t.Fatalf("it is %s with %d connections", v.Status, len(v.Connections))
	}
	_, err = h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, server, false, "")
	if refused := models.AsError(err); refused == nil || refused.Fields["force"].Key != "detach.waits" {
		t.Errorf("a second detach without force: %v", err)
	}
	forced, err := h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, server, true, "")
	h.Must(err)
	h.RunFor(6)
	h.Must(h.Mirror.SyncConnections(t.Context()))
	if v = h.Volume(id); v.Status != models.Available || len(v.Attachments)+len(v.Connections) != 0 || !v.Export.None() {
		t.Errorf("it is %s, attached %v, connected %v, export %v", v.Status, v.Attachments, v.Connections, v.Export)
	}
	for _, id := range []string{waiting.ID, forced.ID} {
		if op, err := h.Store.Queue.Operation(t.Context(), storetest.Operator(), id); err != nil || op.State != models.Succeeded {
			t.Errorf("operation %s: %v", op.State, err)
		}
	}
	// A waiting detach continues when the client disconnects.
	id = h.CreateAttached("data-2", server)
	c := h.Fake.Connect(id, server, "10.0.0.5:43211")
	_, err = h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, "", false, "")
	h.Must(err)
	h.RunFor(3)
	h.Fake.Disconnect(c)
	h.RunFor(4)
	if v = h.Volume(id); v.Status != models.Available {
		t.Errorf("it is %s", v.Status)
	}
}
