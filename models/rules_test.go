package models_test

import (
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

func TestCanRole(t *testing.T) {
	allowed := map[models.Role][]models.Action{
		"":                   {},
		"root":               {},
		models.Viewer:        {},
		models.Operator:      {models.ActEdit, models.ActDelete, models.ActCreateSnapshot, models.ActCreateVolume, models.ActExtend, models.ActAttach, models.ActDetach, models.ActRestore, models.ActRevert, models.ActLock},
		models.Administrator: {models.ActEdit, models.ActDelete, models.ActCreateSnapshot, models.ActCreateVolume, models.ActExtend, models.ActAttach, models.ActDetach, models.ActRestore, models.ActRevert, models.ActRepair, models.ActLock, models.ActUnlock},
	}
	for role, can := range allowed {
		for _, action := range allowed[models.Administrator] {
			d := models.CanRole(action, role)
			if (d == nil) != slices.Contains(can, action) {
				t.Errorf("%s by %q: %+v", action, role, d)
			}
			if d != nil && d.Code() != models.CodeForbidden {
				t.Errorf("%s by %q: %s", action, role, d.Code())
			}
		}
	}
}

// allStatuses has also one that only a cloud knows.
var allStatuses = append(slices.Clone(models.VolumeStatuses), "AWAITING-TRANSFER")

func TestRules_Volume(t *testing.T) {
	now := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	everything := models.Capabilities{Attach: true, MultiAttach: true, Revert: true, ExtendAttached: true, Repair: true}
	available, inUse := models.Available, models.InUse
	not := func(denied models.Status) []models.Status {
		return slices.DeleteFunc(slices.Clone(allStatuses), func(s models.Status) bool { return s == denied })
	}
	for _, tt := range []struct {
		action    models.Action
		abilities models.Capabilities
		in        []models.Status
	}{
		{models.ActCreateSnapshot, models.Capabilities{}, []models.Status{available, inUse}},
		{models.ActEdit, models.Capabilities{}, not(models.Deleting)},
		{models.ActExtend, models.Capabilities{}, []models.Status{available}},
		{models.ActExtend, everything, []models.Status{available, inUse}},
		{models.ActAttach, models.Capabilities{}, nil},
		{models.ActAttach, models.Capabilities{Attach: true}, []models.Status{available}},
		{models.ActAttach, everything, []models.Status{available, inUse}},
		{models.ActDetach, models.Capabilities{}, nil},
		{models.ActDetach, everything, []models.Status{inUse}},
		{models.ActDelete, everything, []models.Status{available, models.ErrorStatus}},
		{models.ActRevert, everything, []models.Status{available}},
		{models.ActLock, everything, slices.DeleteFunc(not(models.Deleting), func(s models.Status) bool { return s == models.Restoring })},
		{models.ActRepair, models.Capabilities{}, nil},
		{models.ActRepair, everything, []models.Status{models.ErrorDeleting}},
	} {
		rules := models.Rules{Capabilities: tt.abilities, Now: now}
		for _, status := range allStatuses {
			d := rules.Volume(tt.action, &models.Volume{Status: status, StatusSince: models.Micros(now.Add(-time.Minute))})
			if (d == nil) != slices.Contains(tt.in, status) {
				t.Errorf("%s in %s with %+v: %+v", tt.action, status, tt.abilities, d)
			}
			if d != nil && d.Code() != models.CodeConflict {
				t.Errorf("%s in %s: %s", tt.action, status, d.Code())
			}
		}
	}
}

func TestRules_Snapshot(t *testing.T) {
	now := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	rules := models.Rules{Capabilities: models.Capabilities{Revert: true, Repair: true}, Now: now}
	for action, in := range map[models.Action][]models.Status{
		models.ActDelete:  {models.Available, models.ErrorStatus},
		models.ActRestore: {models.Available},
		models.ActRevert:  {models.Available},
		models.ActRepair:  {models.ErrorDeleting},
	} {
		for _, status := range allStatuses {
			d := rules.Snapshot(action, &models.Snapshot{Status: status, StatusSince: models.Micros(now)})
			if (d == nil) != slices.Contains(in, status) {
				t.Errorf("%s in %s: %+v", action, status, d)
			}
		}
	}
	for _, status := range allStatuses {
		if d := rules.Snapshot(models.ActEdit, &models.Snapshot{Status: status}); (d == nil) != (status != models.Deleting) {
			t.Errorf("edit in %s: %+v", status, d)
		}
	}
}

func TestRules_RepairStuck(t *testing.T) {
	now := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	rules := models.Rules{Capabilities: models.Capabilities{Repair: true}, Now: now}
	stuck := []models.Status{models.Creating, models.Deleting, models.Attaching, models.Detaching, models.ErrorDeleting}
	for _, status := range allStatuses {
		for since, long := range map[time.Duration]bool{time.Hour + time.Microsecond: true, time.Hour: false, time.Minute: false} {
			want := slices.Contains(stuck, status) && (long || status == models.ErrorDeleting)
			d := rules.Snapshot(models.ActRepair, &models.Snapshot{Status: status, StatusSince: models.Micros(now.Add(-since))})
			if (d == nil) != want {
				t.Errorf("%s for %v: %+v", status, since, d)
			}
		}
	}
}

// TestRules_RepairLost: an object in ERROR is repaired where it has had data that may be
// lost, and nobody writes to it.
func TestRules_RepairLost(t *testing.T) {
	rules := models.Rules{Capabilities: models.Capabilities{Repair: true}, Now: time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)}
	for key, can := range map[string]bool{models.FailureDiskFlush: true, models.FailureDamaged + "gone": true, models.FailureDisk: false, models.FailureUnknown: false} {
		v := &models.Volume{Status: models.ErrorStatus, Failure: models.NewFailure(key)}
		if d := rules.Volume(models.ActRepair, v); (d == nil) != can {
			t.Errorf("%s: %+v", key, d)
		}
		v.AttachmentCount = 1
		if d := rules.Volume(models.ActRepair, v); d == nil {
			t.Errorf("%s: attached", key)
		}
		if d := rules.Snapshot(models.ActRepair, &models.Snapshot{Status: models.ErrorStatus, Failure: models.NewFailure(key)}); (d == nil) != can {
			t.Errorf("snapshot, %s: %+v", key, d)
		}
	}
}

func TestRules_Blockers(t *testing.T) {
	now := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	rules := models.Rules{Now: now}
	attached := &models.Volume{Status: models.InUse, Attached: models.Attached{AttachmentCount: 1, Attachments: []models.Attachment{{Attachment: backend.Attachment{ServerID: "s1", ServerName: "web-1"}}}}}
	if d := rules.Volume(models.ActDelete, attached); d == nil || d.Text.Key != "deny.attached" || !slices.Equal(d.Servers, []string{"web-1"}) || d.Guidance.Key == "" {
		t.Errorf("attached: %+v", d)
	}
	if d := rules.Volume(models.ActDelete, &models.Volume{Status: models.Available, SnapshotCount: 3}); d == nil || !slices.Equal(d.Text.Args, []string{"3"}) {
		t.Errorf("with snapshots: %+v", d)
	}
	lockedVolume := &models.Volume{Status: models.Available, Lock: models.Lock{LockedUntil: models.Micros(now.Add(time.Second)), LockReason: "audit"}}
	if d := rules.Volume(models.ActDelete, lockedVolume); d == nil || d.Text.Key != "deny.locked_for" || len(d.Text.Args) != 2 || d.Text.Args[1] != "audit" {
		t.Errorf("locked volume: %+v", d)
	}
	lockedVolume.LockedUntil = models.Micros(now)
	if d := rules.Volume(models.ActDelete, lockedVolume); d != nil {
		t.Errorf("lock expired: %+v", d)
	}
	locked := &models.Snapshot{Status: models.Available, Lock: models.Lock{LockedUntil: models.Micros(now.Add(time.Second)), LockReason: "audit"}}
	if d := rules.Snapshot(models.ActDelete, locked); d == nil || d.Text.Key != "deny.locked_for" {
		t.Errorf("locked: %+v", d)
	}
	if d := rules.Snapshot(models.ActDelete, locked, models.Link{ID: "v1"}); d == nil || d.Text.Key != "deny.locked_for" {
		t.Errorf("locked, with a dependent: %+v", d)
	}
	read := *locked
	read.AttachmentCount, read.Attachments = 1, attached.Attachments
	if d := rules.Snapshot(models.ActDelete, &read); d == nil || d.Text.Key != "deny.attached" || !slices.Equal(d.Servers, []string{"web-1"}) {
		t.Errorf("locked, and read by a server: %+v", d)
	}
	serving := models.Rules{Now: now, Capabilities: models.Capabilities{AttachSnapshots: true, Checksums: true}}
	for _, action := range []models.Action{models.ActAttach, models.ActDetach, models.ActCheck, models.ActRestore, models.ActEdit} {
		if d := serving.Snapshot(action, &read); d != nil {
			t.Errorf("%s of what is locked: %+v", action, d)
		}
	}
	locked.LockedUntil = models.Micros(now)
	if d := rules.Snapshot(models.ActDelete, locked); d != nil {
		t.Errorf("no longer locked: %+v", d)
	}
	blocker := models.Link{ID: "v1", Name: "copy"}
	if d := rules.Snapshot(models.ActDelete, locked, blocker); d == nil || !slices.Equal(d.Volumes, []models.Link{blocker}) {
		t.Errorf("with a dependent: %+v", d)
	}
	if d := rules.Snapshot(models.ActDelete, &models.Snapshot{Status: models.ErrorDeleting}); d == nil || d.Text.Key != "deny.error_deleting" {
		t.Errorf("ERROR_DELETING: %+v", d)
	}
}
