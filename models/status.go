package models

import "blockconsole/models/backend"

// Status is the state of a volume or snapshot, as the user guide writes it.
type Status = backend.Status

// The statuses that the console itself acts on.
const (
	Creating      = backend.Creating
	Available     = backend.Available
	InUse         = backend.InUse
	Attaching     = backend.Attaching
	Detaching     = backend.Detaching
	Extending     = backend.Extending
	Restoring     = backend.Restoring
	Deleting      = backend.Deleting
	ErrorStatus   = backend.ErrorStatus
	ErrorDeleting = backend.ErrorDeleting
)

// VolumeStatuses and SnapshotStatuses are the choices of the status filters.
var (
	VolumeStatuses   = []Status{Creating, Available, InUse, Attaching, Detaching, Extending, Restoring, Deleting, ErrorStatus, ErrorDeleting}
	SnapshotStatuses = []Status{Creating, Available, Restoring, Deleting, ErrorStatus, ErrorDeleting}
)

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
