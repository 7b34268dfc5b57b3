package models_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
)

func seoul(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestLockEnd(t *testing.T) {
	now := time.Date(2026, 11, 22, 23, 59, 59, 0, seoul(t))
	for typed, want := range map[string]string{
		"2026-11-22":        "2026-11-23T00:00:00+09:00", // today: until 24:00
		"2026-12-31":        "2027-01-01T00:00:00+09:00",
		"2028-02-29":        "2028-03-01T00:00:00+09:00",
		" 2026-11-22\u00a0": "2026-11-23T00:00:00+09:00",
		"2126-11-22":        "2126-11-23T00:00:00+09:00", // the last one
		"":                  "lock.until_required",
		"2026-11-21":        "lock.until_past",
		"0001-01-01":        "lock.until_past",
		"2027-02-29":        "lock.until_invalid",
		"2026-02-30":        "lock.until_invalid",
		"2026-1-2":          "lock.until_invalid",
		"22.11.2026":        "lock.until_invalid",
		"tomorrow":          "lock.until_invalid",
		"2026-11-22T00:00":  "lock.until_invalid",
		"2126-11-23":        "lock.until_far",
		"2226-11-22":        "lock.until_far",
	} {
		end, invalid := models.LockEnd(typed, now)
		got := time.UnixMicro(end).In(now.Location()).Format(time.RFC3339)
		if invalid != nil {
			got = invalid.Key
		}
		if got != want {
			t.Errorf("%q: %s, want %s", typed, got, want)
		}
	}
}

// Midnight of 6 September 2026 does not exist in Chile: clocks go from 24:00 to 01:00.
func TestLockEnd_MidnightMissing(t *testing.T) {
	zone, err := time.LoadLocation("America/Santiago")
	if err != nil {
		t.Fatal(err)
	}
	end, invalid := models.LockEnd("2026-09-05", time.Date(2026, 9, 1, 12, 0, 0, 0, zone))
	if last := time.UnixMicro(end - 1).In(zone); invalid != nil || last.Format(time.DateOnly) != "2026-09-05" {
		t.Errorf("%v %v", last, invalid)
	}
}

func TestLockInput_Lock(t *testing.T) {
	zone := seoul(t)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, zone)
	day := func(d int) int64 { return models.Micros(time.Date(2026, 11, d+1, 0, 0, 0, 0, zone)) }
	present := models.Lock{LockedUntil: day(25), LockReason: "audit", LockedBy: "kim", LockedAt: 1}
	for _, tt := range []struct {
		name, until, reason string
		role                models.Role
		present             models.Lock
		want                string // the lock's reason, or the key of the error
	}{
		{"set", "2026-11-23", "", models.Operator, models.Lock{}, ""},
		{"lengthen", "2026-11-26", "more", models.Operator, present, "more"},
		{"lengthen without a reason", "2026-11-26", " ", models.Operator, present, "audit"},
		{"the same day", "2026-11-25", "other words", models.Operator, present, "other words"},
		{"shorten", "2026-11-24", "done", models.Operator, present, "lock.shorter"},
		{"shorten as administrator", "2026-11-24", "done", models.Administrator, present, "done"},
		{"shorten without a reason", "2026-11-24", "\u3000", models.Administrator, present, "reason.required"},
		{"after it has run out", "2026-11-22", "", models.Operator, models.Lock{LockedUntil: models.Micros(now), LockReason: "old"}, ""},
		{"long reason", "2026-11-26", strings.Repeat("가", 1000), models.Operator, present, "description.long"},
	} {
		in := models.LockInput{Until: tt.until, Reason: tt.reason, Zone: zone}
		lock, err := in.Lock(tt.present, models.Actor{Name: "lee", Role: tt.role}, now)
		if e := models.AsError(err); e != nil {
			var keys []string
			for _, text := range e.Fields {
				keys = append(keys, text.Key)
			}
			if !slices.Equal(keys, []string{tt.want}) || (e.Code == models.CodeForbidden) != (tt.want == "lock.shorter") {
				t.Errorf("%s: %v %v", tt.name, e, keys)
			}
			continue
		}
		end, _ := models.LockEnd(tt.until, now)
		if want := (models.Lock{LockedUntil: end, LockReason: tt.want, LockedBy: "lee", LockedAt: models.Micros(now)}); lock != want {
			t.Errorf("%s: %+v, want %+v", tt.name, lock, want)
		}
	}
}

func TestLockInput_ValidateUnlock(t *testing.T) {
	for reason, ok := range map[string]bool{"agreed": true, "": false, " \t": false, strings.Repeat("x", 1000): false} {
		if err := (models.LockInput{Reason: reason}).ValidateUnlock(); (err == nil) != ok {
			t.Errorf("%.10q: %v", reason, err)
		}
	}
}

func TestRules_Locked(t *testing.T) {
	now := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	rules := models.Rules{Now: now, Capabilities: models.Capabilities{Attach: true, Revert: true, ExtendAttached: true, Repair: true}}
	lock := models.Lock{LockedUntil: models.Micros(now) + 1}
	refused := func(actions []models.Action, ask func(models.Action) *models.Denial) (all []models.Action) {
		for _, a := range actions {
			if d := ask(a); d != nil && d.Text.Key == "deny.locked" {
				all = append(all, a)
			}
		}
		return all
	}
	every := []models.Action{models.ActCreateSnapshot, models.ActEdit, models.ActExtend, models.ActAttach, models.ActDetach, models.ActDelete,
		models.ActRestore, models.ActRevert, models.ActRepair, models.ActLock, models.ActUnlock}
	v := &models.Volume{Status: models.Available, Lock: lock}
	if got := refused(every, func(a models.Action) *models.Denial { return rules.Volume(a, v) }); !slices.Equal(got, []models.Action{models.ActDelete, models.ActRevert}) {
		t.Errorf("volume: %v", got)
	}
	s := &models.Snapshot{Status: models.Available, Lock: lock}
	if got := refused(every, func(a models.Action) *models.Denial { return rules.Snapshot(a, s) }); !slices.Equal(got, []models.Action{models.ActDelete}) {
		t.Errorf("snapshot: %v", got)
	}
	v.LockedUntil, s.LockedUntil = models.Micros(now), models.Micros(now)
	for _, d := range []*models.Denial{rules.Volume(models.ActUnlock, v), rules.Snapshot(models.ActUnlock, s)} {
		if d == nil || d.Text.Key != "deny.not_locked" {
			t.Errorf("run out: %+v", d)
		}
	}
	if d := rules.Volume(models.ActLock, &models.Volume{Status: models.Deleting}); d == nil || d.Text.Key != "deny.deleting" {
		t.Errorf("%+v", d)
	}
}
