package models

import "blockconsole/models/backend"

// Status is the state of a volume or snapshot, in the words of the user guide.
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

// VolumeStatuses and SnapshotStatuses are the choices of the lists' status filters.
var (
	VolumeStatuses   = []Status{Creating, Available, InUse, Attaching, Detaching, Extending, Restoring, Deleting, ErrorStatus, ErrorDeleting}
	SnapshotStatuses = []Status{Creating, Available, Restoring, Deleting, ErrorStatus, ErrorDeleting}
)

// Consistency is how consistent the bytes of a snapshot are.
type Consistency = backend.Consistency

// The consistencies.
const (
	Clean                          = backend.Clean
	CrashConsistent                = backend.CrashConsistent
	Inconsistent                   = backend.Inconsistent
	ConsistencyUnknown Consistency = ""
)
