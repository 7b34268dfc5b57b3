package models

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"

	"blockconsole/models/backend"
)

// OperationState is the state of an operation in the queue.
type OperationState string

// The states. The last three are final.
const (
	Pending   OperationState = "PENDING"
	Running   OperationState = "RUNNING"
	Succeeded OperationState = "SUCCEEDED"
	Failed    OperationState = "FAILED"
	Cancelled OperationState = "CANCELLED"
)

// Kind is what an operation does.
type Kind string

// The kinds.
const (
	VolumeCreate    Kind = "volume.create"
	VolumeEdit      Kind = "volume.edit"
	VolumeExtend    Kind = "volume.extend"
	VolumeAttach    Kind = "volume.attach"
	VolumeDetach    Kind = "volume.detach"
	VolumeDelete    Kind = "volume.delete"
	VolumeRepair    Kind = "volume.repair"
	VolumeRevert    Kind = "volume.revert"
	SnapshotCreate  Kind = "snapshot.create"
	SnapshotEdit    Kind = "snapshot.edit"
	SnapshotDelete  Kind = "snapshot.delete"
	SnapshotRestore Kind = "snapshot.restore" // makes a volume of a snapshot; its subject is the volume
	SnapshotRepair  Kind = "snapshot.repair"
	SnapshotCheck   Kind = "snapshot.check"  // compares its bytes with its checksums
	SnapshotAttach  Kind = "snapshot.attach" // to one more server, for reading
	SnapshotDetach  Kind = "snapshot.detach"
	VolumeLock      Kind = "volume.lock"
	VolumeUnlock    Kind = "volume.unlock"
	SnapshotLock    Kind = "snapshot.lock"
	SnapshotUnlock  Kind = "snapshot.unlock"
)

// SubjectType is the kind of object that an operation or a change is about.
type SubjectType = backend.SubjectType

// The subject types. Operations have the first two, changes all of them.
const (
	SubjectVolume                = backend.SubjectVolume
	SubjectSnapshot              = backend.SubjectSnapshot
	SubjectOperation SubjectType = "operation"
	// SubjectConnection is the kind of a change of the counters of an object's connections; its id is the object's.
	SubjectConnection SubjectType = "connection"
	// SubjectSession is the kind of a change that is the end of a session; it belongs to no project.
	SubjectSession SubjectType = "session"
)

// Operation is a request of a user that takes time: a durable row, inserted in the
// transaction of the click, carried out by a worker, and resumed by another worker
// when that one dies. Times are Unix microseconds; 0 means not yet.
type Operation struct {
	Num         int64 `gorm:"primaryKey"` // sequence number
	ID          string
	ProjectID   string
	Kind        Kind
	SubjectType SubjectType
	SubjectID   string
	SubjectName string
	Lane        string // operations of one lane run one after the other, by Num
	Params      Params
	State       OperationState
	Step        int // number of steps done
	Steps       int // number of all steps
	Percent     int
	Attempts    int   // number of reconciliations that met an error
	RunAt       int64 // the worker reconciles it again at this time
	LeaseOwner  string
	LeaseUntil  int64
	LastError   Failure
	RequestID   string // the backend's id of the request
	CalledAt    int64  // when the backend was called for what must not happen twice; the response may have been lost
	FormKey     string // unique; empty: none
	FormUse     string // what the form asked for, hashed; empty: not known
	AskedBy     string // user name
	AskedAt     int64
	StartedAt   int64
	FinishedAt  int64

	Replayed bool `gorm:"-"` // the same form key had been sent before, and made this operation
	First    bool `gorm:"-"` // claimed for the first time: the backend has not been called yet
}

// Step of an operation that creates an object. A volume that is also to be attached
// has two steps more.
const (
	StepAccepted = 1 // the backend accepted the request
	StepCreated  = 2 // the object exists
)

// StepNames returns the visible steps of the operation, in order, as keys of the
// catalog below «step.». Where the backend accepts a request and carries it out
// later, the first step is that it accepted.
func (o *Operation) StepNames() []string {
	switch o.Kind {
	case VolumeCreate, SnapshotRestore:
		if o.Params.ServerID != "" {
			return []string{"create", "wait", "attach", "finish"}
		}
		return []string{"create", "wait"}
	case SnapshotCreate:
		return []string{"create", "wait"}
	case VolumeDelete, SnapshotDelete:
		return []string{"delete", "gone"}
	case VolumeExtend:
		return []string{"extend", "wait"}
	case VolumeAttach, SnapshotAttach:
		return []string{"attach", "wait"}
	case VolumeDetach, SnapshotDetach:
		return []string{"detach", "wait"}
	case VolumeRevert:
		return []string{"revert", "wait"}
	case VolumeRepair, SnapshotRepair:
		return []string{"repair"}
	case SnapshotCheck:
		return []string{"verify"}
	case VolumeLock, VolumeUnlock, SnapshotLock, SnapshotUnlock:
		return []string{"lock"}
	}
	return []string{"edit"}
}

// Params are the arguments of an operation. The worker reads them, and a cancel or
// retry; those marked «audit» only the audit shows. What a new object looks like
// (name, size, source) the worker reads from its row.
type Params struct {
	VolumeID       string `json:"volume_id,omitempty"`   // of a new snapshot: to check a retry
	SnapshotID     string `json:"snapshot_id,omitempty"` // of a revert; of a restore: to check a retry
	ImageID        string `json:"image_id,omitempty"`    // audit
	Raw            bool   `json:"raw,omitempty"`         // of a create: the image's bytes as they are
	ServerID       string `json:"server_id,omitempty"`
	ServerName     string `json:"server_name,omitempty"` // audit
	Name           string `json:"name,omitempty"`        // of an edit; else audit
	Description    string `json:"description,omitempty"` // of an edit; else audit
	OldName        string `json:"old_name,omitempty"`    // of an edit: to restore it when it is refused or cancelled
	OldDescription string `json:"old_description,omitempty"`
	SizeGiB        int    `json:"size_gib,omitempty"` // of an extend; else audit
	PriorStatus    Status `json:"was,omitempty"`      // of the row before the click: to restore it when it is refused or cancelled
	ResetTo        Status `json:"reset_to,omitempty"`
	Reason         string `json:"reason,omitempty"`       // audit
	LockedUntil    int64  `json:"locked_until,omitempty"` // of a lock; else audit: what an unlock ended. Unix microseconds
	Force          bool   `json:"force,omitempty"`
	Attached       bool   `json:"attached,omitempty"` // audit
	Acknowledged   bool   `json:"acknowledged,omitempty"`
	Retried        bool   `json:"again,omitempty"`      // the user retried it after it failed
	BackendID      string `json:"backend_id,omitempty"` // of a delete: to ignore the object in pages of a listing begun before
	// Of a revert: when the volume and the snapshot had changed last before the call, in microseconds of the
	// backend's clock. When the response is lost, they tell whether the revert happened.
	VolumeChanged   int64 `json:"volume_changed,omitempty"`
	SnapshotChanged int64 `json:"snapshot_changed,omitempty"` // microseconds, too
	Renew           bool  `json:"renew,omitempty"`            // of a check: the checksums are computed anew
	// Of a check: when the checksums had been computed, and the bytes compared with them, before the call, in
	// microseconds of the backend's clock: other times are the result.
	ComputedAt int64 `json:"computed_at,omitempty"` // microseconds
	CheckedAt  int64 `json:"checked_at,omitempty"`  // microseconds, too
}

// Value stores p as JSON. Errors: none of its own.
func (p Params) Value() (driver.Value, error) {
	b, err := json.Marshal(p)
	return string(b), err
}

// Scan reads what Value stored. Errors: none of its own, only those of JSON.
func (p *Params) Scan(src any) error {
	switch v := src.(type) {
	case string:
		return json.Unmarshal([]byte(v), p)
	case []byte:
		return json.Unmarshal(v, p)
	}
	return fmt.Errorf("params: cannot scan %T", src)
}

// Finished reports whether the operation is in a final state.
func (o *Operation) Finished() bool { return o.FinishedAt > 0 }

// ErrLeaseLost is the error of a worker whose lease of an operation has expired or was
// taken.
var ErrLeaseLost = errors.New("lease lost")

// Summary returns p as JSON, for the audit.
func (p Params) Summary() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return string(b)
}

// OperationQuery is a page of operations, newest first.
type OperationQuery struct {
	State   OperationState // empty: any
	Subject string         // id; empty: any
	Before  int64          // Operation.Num, a sequence number; 0: from the newest
	Limit   int            // number of rows at most
}

// CopyLane is the lane of the snapshots of a volume that no longer need the volume to
// itself: those whose instant is taken are copied, others wait for that. A snapshot is
// taken in the lane of the volume.
func CopyLane(volumeID string) string { return volumeID + "/copy" }

// Cancellable reports whether the operation has not begun, or has to wait before it can,
// and can be cancelled.
func (o *Operation) Cancellable() bool {
	neverRan := o.StartedAt == 0 && o.RunAt == o.AskedAt // a retried one has run before
	waits := o.Kind == SnapshotCreate && o.Lane == CopyLane(o.Params.VolumeID) && !o.Params.Retried
	switch o.Kind {
	case VolumeRepair, SnapshotRepair, VolumeLock, VolumeUnlock, SnapshotLock, SnapshotUnlock: // these are in force already
		return false
	}
	return o.State == Pending && (neverRan || waits)
}

// Retryable reports whether the operation failed and may simply run again.
func (o *Operation) Retryable() bool {
	if o.State != Failed {
		return false
	}
	switch o.Kind {
	case VolumeCreate, SnapshotCreate, SnapshotRestore, VolumeExtend, VolumeAttach, VolumeDetach, SnapshotAttach, SnapshotDetach,
		VolumeLock, VolumeUnlock, SnapshotLock, SnapshotUnlock:
		return true
	}
	return false
}
