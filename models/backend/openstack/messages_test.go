package openstack

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

func TestLastFailure(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour} {
		now := newClock()
		cloud, b := newCloud(t, openstacktest.Options{Now: now.Now, BusySnapshots: true})
		cloud.SetSkew(skew)
		of := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
		sn := cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: of})
		child := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Snapshot: sn, Metadata: map[string]string{refName: newRef(t)}})
		key := backend.Key{ID: sn}
		if err := b.LastFailure(t.Context(), backend.SubjectSnapshot, key, now.Now()); !errors.Is(err, backend.ErrNotFound) {
			t.Fatalf("there is no failure, but: %v", err)
		}
		since := now.Now()
		now.advance(10 * time.Second)
		if err := b.DeleteSnapshot(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		cloud.Settle()
		var busy *backend.Error
		if err := b.LastFailure(t.Context(), backend.SubjectSnapshot, key, since); !errors.As(err, &busy) || busy.Code != backend.CodeBusy || len(busy.Dependents) != 1 || busy.Dependents[0].ID != child || busy.Dependents[0].Ref == "" {
			t.Errorf("%v", err)
		}
		if got, err := b.Snapshot(t.Context(), key); err != nil || got.Status != backend.Available || got.RequestID == "" {
			t.Errorf("%+v, %v", got, err)
		}
		request := cloud.AddMessage(of, "VOLUME_VOLUME_001_003", "schedule allocate volume:Could not find any available weighted backend.")
		var reported *backend.Error
		err := b.LastFailure(t.Context(), backend.SubjectVolume, backend.Key{ID: of}, since)
		if !errors.As(err, &reported) || reported.Code != backend.CodeReported || reported.RequestID != request || reported.EventID != "VOLUME_VOLUME_001_003" || !strings.Contains(reported.Message, "weighted backend") {
			t.Errorf("%v", err)
		}
		now.advance(time.Minute)
		if err := b.LastFailure(t.Context(), backend.SubjectVolume, backend.Key{ID: of}, now.Now()); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("an old message: %v", err)
		}
	}
}

// A volume that others were cloned from is not deleted, without a message.
func TestLastFailure_VolumeWithClones(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	key := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
	clone := newRef(t)
	cloud.Inject(openstacktest.Rule{Method: "GET", Path: "/volumes/detail"}, openstacktest.Fault{
		Status: 200, Body: fmt.Sprintf(`{"volumes": [{"id": "%s", "source_volid": "%s"}, {"id": "other", "source_volid": null}]}`, clone, key.ID),
	})
	if err := b.LastFailure(t.Context(), backend.SubjectVolume, key, time.Now()); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("its deletion was not requested: %v", err)
	}
	if err := b.DeleteVolume(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	var busy *backend.Error
	if err := b.LastFailure(t.Context(), backend.SubjectVolume, key, time.Now()); !errors.As(err, &busy) || busy.Code != backend.CodeBusy || len(busy.Dependents) != 1 || busy.Dependents[0].ID != clone {
		t.Errorf("%v", err)
	}
}
