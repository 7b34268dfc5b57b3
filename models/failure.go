package models

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
)

// Failure is why something went wrong, as a text of the catalog; the zero Failure
// is none. It is stored as JSON.
type Failure struct {
	Text
	// Dependents are objects that stand in the way, oldest first, up to
	// MaxDependents of them; they may be gone when somebody looks.
	Dependents []Dependent `json:"dependents,omitempty"`
}

// MaxDependents is how many dependents a failure names at most.
const MaxDependents = 20

// Dependent names an object that depends on another one. ID is the console's, or
// the backend's of an object that the console has not seen yet: either opens its
// page. Name may be empty.
type Dependent struct {
	Type SubjectType `json:"type"`
	ID   string      `json:"id"`
	Name string      `json:"name,omitempty"`
}

// None says that nothing went wrong.
func (f Failure) None() bool { return f.Key == "" }

// Equal says that two failures read alike.
func (f Failure) Equal(g Failure) bool {
	return f.Key == g.Key && slices.Equal(f.Args, g.Args) && slices.Equal(f.Dependents, g.Dependents)
}

// Value stores it: empty for none.
func (f Failure) Value() (driver.Value, error) {
	if f.None() {
		return "", nil
	}
	b, err := json.Marshal(f)
	return string(b), err
}

// Scan reads it back.
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

// Sanitized makes what a backend said fit for both databases.
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

// The failures of a volume in use whose bytes could not be read or written; it
// stays in use.
const (
	FailureDisk      = "failure.disk"
	FailureDiskFull  = "failure.disk_full"
	FailureDiskFlush = "failure.disk_flush" // what its servers wrote may be lost
)

func (f Failure) IsDisk() bool {
	return f.Key == FailureDisk || f.Key == FailureDiskFull || f.Key == FailureDiskFlush
}

// FailureUnknown is the failure of an object in error whose backend gives no
// reason.
const FailureUnknown = "failure.unknown"
