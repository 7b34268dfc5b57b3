package models

import (
	"slices"
)

// Status is the state of a volume or snapshot, as the user guide writes it. A
// cloud may report others; they are kept as they came.
type Status string

// The statuses the console itself speaks about.
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

// VolumeStatuses and SnapshotStatuses are the choices of the status filters.
var (
	VolumeStatuses   = []Status{Creating, Available, InUse, Attaching, Detaching, Extending, Restoring, Deleting, ErrorStatus, ErrorDeleting}
	SnapshotStatuses = []Status{Creating, Available, Restoring, Deleting, ErrorStatus, ErrorDeleting}
)

// InTransition says that the status will change by itself soon: the mirror looks
// at such objects often. An unknown status is not in transition.
func (s Status) InTransition() bool {
	return slices.Contains([]Status{Creating, Attaching, Detaching, Extending, Restoring, Deleting}, s)
}

// Consistency says how a snapshot was taken.
type Consistency string

// The consistencies. A detached volume is clean. Of an attached one a snapshot is
// at best what a power cut would leave (crash), at worst a smear: bytes of
// different moments.
const (
	Clean              Consistency = "clean"
	CrashConsistent    Consistency = "crash"
	Inconsistent       Consistency = "smear"
	ConsistencyUnknown Consistency = ""
)

// Settled says that nothing is under way with the object. An unknown status may be
// anything.
func (s Status) Settled() bool {
	return slices.Contains([]Status{Available, InUse, ErrorStatus, ErrorDeleting}, s)
}
