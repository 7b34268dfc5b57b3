package models

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"blockconsole/models/backend"
)

// Failure is why an operation failed or an object is in error, as a text of the
// catalog; the zero Failure is none. It is stored as JSON.
type Failure struct {
	Text
	// Dependents are the objects that blocked it, oldest first, at most MaxDependents; some may no longer exist.
	Dependents []Dependent `json:"dependents,omitempty"`
}

// NewFailure makes a Failure without dependents.
func NewFailure(key string, args ...string) Failure { return Failure{Text: NewText(key, args...)} }

// MaxDependents is the largest number of dependents in a Failure.
const MaxDependents = 20

// Dependent is an object that depends on another one. ID is the console's id, or the
// backend's when the mirror has not copied the object yet: either opens its page.
// Name may be empty.
type Dependent struct {
	Type SubjectType `json:"type"`
	ID   string      `json:"id"`
	Name string      `json:"name,omitempty"`
}

// None reports whether f is the zero Failure.
func (f Failure) None() bool { return f.Key == "" }

// Equal reports whether f and g are shown alike.
func (f Failure) Equal(g Failure) bool {
	return f.Key == g.Key && slices.Equal(f.Args, g.Args) && slices.Equal(f.Dependents, g.Dependents)
}

// Value stores f as JSON, none as an empty string. Errors: none of its own.
func (f Failure) Value() (driver.Value, error) {
	if f.None() {
		return "", nil
	}
	b, err := json.Marshal(f)
	return string(b), err
}

// Scan reads what Value stored. Errors: none of its own, only those of JSON.
func (f *Failure) Scan(src any) error {
	*f = Failure{}
	var text string
	switch v := src.(type) {
	case nil:
		return nil
	case string:
		text = v
	case []byte:
		text = string(v)
	default:
		return fmt.Errorf("failure: cannot scan %T", src)
	}
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), f)
}

// Sanitized returns f with texts that both databases accept, see [Sanitize].
func (f Failure) Sanitized() Failure {
	args := make([]string, 0, len(f.Args))
	for _, arg := range f.Args {
		args = append(args, Sanitize(arg))
	}
	if len(args) > 0 {
		f.Args = args
	}
	if len(f.Dependents) > MaxDependents {
		f.Dependents = f.Dependents[:MaxDependents]
	}
	return f
}

// The failures of a volume whose bytes could not be read or written. Its status stays
// IN-USE. Those of other causes have keys of their own, see DiskFailure.
const (
	FailureDisk      = "failure.disk"
	FailureDiskFull  = "failure.disk_full"
	FailureDiskFlush = "failure.disk_flush" // writes of its servers may be lost
)

// DiskFailure is the failure of a volume whose server got an error for this cause; empty
// is one that nobody can name.
func DiskFailure(cause backend.Cause) Failure {
	switch cause {
	case "", backend.DiskError:
		return NewFailure(FailureDisk)
	case backend.NoBytes:
		return NewFailure(FailureDiskFull)
	}
	return NewFailure("failure.disk_" + string(cause))
}

// IsDisk reports whether f is one of the disk failures of a volume in use.
func (f Failure) IsDisk() bool {
	return f.Key == FailureDisk || strings.HasPrefix(f.Key, FailureDisk+"_")
}

// IsDamage reports whether f says that the object's files were changed by hand.
func (f Failure) IsDamage() bool { return strings.HasPrefix(f.Key, FailureDamaged) }

// MayBeLost reports whether the object has had data that may be lost now: its files were
// changed by hand, or the disk did not take what servers wrote. An administrator looks,
// and decides whether it is used again.
func (f Failure) MayBeLost() bool { return f.IsDamage() || f.Key == FailureDiskFlush }

// FailureDamaged begins the keys of the failures of objects whose files were changed by
// hand.
const FailureDamaged = "failure.damaged."

// FailureUnknown is the failure of an object in error for which the backend reports no
// reason.
const FailureUnknown = "failure.unknown"
