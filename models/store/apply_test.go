package store_test

import (
	"slices"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestUpsertVolumes_Attachments(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		id := availableVolume(t, db, "data-1")
		for _, step := range []struct {
			observed, want []backend.Attachment
			changed        bool
		}{
			{[]backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdb", UsedAt: 5}}, []backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdb", UsedAt: 5}}, true},
			{[]backend.Attachment{{ServerID: "s1", Device: "/dev/vdb", UsedAt: 3}}, []backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdb", UsedAt: 5}}, false},
			{[]backend.Attachment{{ServerID: "s1", Device: "/dev/vdc"}}, []backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdc", UsedAt: 5}}, true},
			{[]backend.Attachment{{ServerID: "s2", ServerName: "web-2"}}, []backend.Attachment{{ServerID: "s2", ServerName: "web-2"}}, true},
			{[]backend.Attachment{}, nil, true},
		} {
			status := models.InUse
			if len(step.observed) == 0 {
				status = models.Available
			}
			kinds := changedBy(t, db, func() error {
				return observeVolume(db, id, store.ObservedState{Status: status, Percent: backend.PercentUnknown, Attachments: &step.observed})
			})
			row, err := db.Volumes.Volume(t.Context(), storetest.Operator(), id)
			must(t, err)
			var got []backend.Attachment
			for _, a := range row.Attachments {
				got = append(got, a.Attachment)
			}
			if !slices.Equal(got, step.want) || (len(kinds) > 0) != step.changed {
				t.Errorf("observed %+v: got %+v, changes %v", step.observed, got, kinds)
			}
		}
	})
}
