package backend

import "slices"

// Status is the state of a volume or snapshot, in upper case. A backend may report
// others than the constants; they are shown unchanged.
type Status string

// The statuses that the console itself acts on.
const (
	Creating      Status = "CREATING"
	Available     Status = "AVAILABLE"
	InUse         Status = "IN-USE"
	Attaching     Status = "ATTACHING"
	Detaching     Status = "DETACHING"
	Extending     Status = "EXTENDING"
	Restoring     Status = "RESTORING"
	Deleting      Status = "DELETING"
	ErrorStatus   Status = "ERROR"
	ErrorDeleting Status = "ERROR_DELETING"
)

// InTransition says that the status will change by itself soon: the mirror polls
// such objects. An unknown status is not in transition.
func (s Status) InTransition() bool {
	return slices.Contains([]Status{Creating, Attaching, Detaching, Extending, Restoring, Deleting}, s)
}

// Settled says that nothing is under way with the object. An unknown status may be
// anything.
func (s Status) Settled() bool {
	return slices.Contains([]Status{Available, InUse, ErrorStatus, ErrorDeleting}, s)
}

// SubjectType is a kind of object.
type SubjectType string

// The kinds of objects.
const (
	SubjectVolume   SubjectType = "volume"
	SubjectSnapshot SubjectType = "snapshot"
)

// Plural is the word for many of them: in names of tables, in paths and in messages.
func (t SubjectType) Plural() string { return string(t) + "s" }
