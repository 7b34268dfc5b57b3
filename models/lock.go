package models

import (
	"strconv"
	"time"
)

// Lock keeps an object from being deleted, and a volume from being reverted over. Times
// are Unix microseconds.
type Lock struct {
	LockedUntil int64 // the end of its last day; 0: there is none. One that has run out is none, and stays in its row
	LockReason  string
	LockedBy    string // user name
	LockedAt    int64  // Unix microseconds
}

// LockYears is how many years a lock lasts at most.
const LockYears = 100

// Locked reports whether there is a lock.
func (l Lock) Locked() bool { return l.LockedUntil > 0 }

// At is the lock at the time now: the zero Lock when it has run out.
func (l Lock) At(now time.Time) Lock {
	if l.LockedUntil <= Micros(now) {
		return Lock{}
	}
	return l
}

// Denial is why a locked object is not deleted or reverted over at the time now; nil without a
// lock.
func (l Lock) Denial(now time.Time) *Denial {
	switch l = l.At(now); {
	case !l.Locked():
		return nil
	case l.LockReason == "":
		return NewDenial("deny.locked", strconv.FormatInt(l.LockedUntil, 10))
	}
	return NewDenial("deny.locked_for", strconv.FormatInt(l.LockedUntil, 10), l.LockReason)
}

// unlockDenial is why an object without a lock is not unlocked; nil with one.
func (l Lock) unlockDenial(now time.Time) *Denial {
	if l.At(now).Locked() {
		return nil
	}
	return NewDenial("deny.not_locked")
}

// LockInput is the form «잠금». With Until empty it is «잠금 해제».
type LockInput struct {
	ID      string
	Until   string // the last day, YYYY-MM-DD as typed
	Reason  string
	Version int64 // the row's version number in the form; 0: not checked
	FormKey string
	Zone    *time.Location `json:"-"` // of Until
}

// Validate checks what does not depend on the object: the fields until and reason. now is
// the present time.
// Errors: CodeInvalid.
func (in LockInput) Validate(now time.Time) error {
	fields := FieldErrors{}
	_, invalid := LockEnd(in.Until, localTime(now, in.Zone))
	fields.Add("until", invalid)
	fields.Add("reason", ValidateDescription(in.Reason))
	return fields.Err()
}

// Lock returns the lock that the form asks for at the time now instead of the present one. Without a
// reason a lock that is lengthened keeps its own. Errors: CodeInvalid with the fields
// until and reason (required to shorten), CodeForbidden when the role may not shorten.
func (in LockInput) Lock(present Lock, actor Actor, now time.Time) (Lock, error) {
	if err := in.Validate(now); err != nil {
		return Lock{}, err
	}
	until, _ := LockEnd(in.Until, localTime(now, in.Zone))
	lock := Lock{LockedUntil: until, LockReason: TrimSpace(in.Reason), LockedBy: actor.Name, LockedAt: Micros(now)}
	if present = present.At(now); until >= present.LockedUntil {
		if lock.LockReason == "" {
			lock.LockReason = present.LockReason
		}
		return lock, nil
	}
	if !actor.Role.Allows(Administrator) {
		why := NewText("lock.shorter", strconv.FormatInt(present.LockedUntil, 10))
		return Lock{}, &Error{Code: CodeForbidden, Text: why, Fields: map[string]Text{"until": why}}
	}
	return lock, in.requireReason()
}

// ValidateUnlock checks the field reason, which is required to unlock. Errors:
// CodeInvalid.
func (in LockInput) ValidateUnlock() error {
	fields := FieldErrors{}
	fields.Add("reason", ValidateDescription(in.Reason))
	if err := fields.Err(); err != nil {
		return err
	}
	return in.requireReason()
}

func (in LockInput) requireReason() error {
	if TrimSpace(in.Reason) == "" {
		return Invalid("reason", NewText("reason.required"))
	}
	return nil
}

// LockEnd returns the end of a day that was typed as YYYY-MM-DD, in Unix microseconds,
// or what is wrong with it. now is in the zone of the day: today is the earliest, and in
// LockYears the latest one.
func LockEnd(day string, now time.Time) (end int64, invalid *Text) {
	at, err := time.ParseInLocation(time.DateOnly, TrimSpace(day), now.Location())
	year, month, date := now.Date()
	switch {
	case TrimSpace(day) == "":
		return 0, &Text{Key: "lock.until_required"}
	case err != nil:
		return 0, &Text{Key: "lock.until_invalid"}
	case at.Before(time.Date(year, month, date, 0, 0, 0, 0, now.Location())):
		return 0, &Text{Key: "lock.until_past"}
	case at.After(time.Date(year+LockYears, month, date, 0, 0, 0, 0, now.Location())):
		return 0, &Text{Key: "lock.until_far", Args: []string{strconv.Itoa(LockYears)}}
	}
	return Micros(at.AddDate(0, 0, 1)), nil
}

// localTime is now in the zone; in UTC without one.
func localTime(now time.Time, zone *time.Location) time.Time {
	if zone == nil {
		return now.UTC()
	}
	return now.In(zone)
}
