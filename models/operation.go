package models

import (
	"blockconsole/models/backend"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
)

// OperationState is how far an operation is.
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
)

// SubjectType is what an operation is about.
type SubjectType = backend.SubjectType

// The subject types; they are also the kinds of the changes table.
const (
	SubjectVolume                = backend.SubjectVolume
	SubjectSnapshot              = backend.SubjectSnapshot
	SubjectOperation SubjectType = "operation"
	// SubjectConnection is the kind of a change of the figures of a volume's connections; its id is the volume's.
	SubjectConnection SubjectType = "connection"
)

// Operation is a click that lasts: written in the transaction of the click,
// carried out by a worker, resumed by another one when that dies.
type Operation struct {
	Num         int64 `gorm:"primaryKey"`
	ID          string
	ProjectID   string
	Kind        Kind
	SubjectType SubjectType
	SubjectID   string
	SubjectName string
	Lane        string // operations of one lane run one after the other, in order of asking
	Params      Params
	State       OperationState
	Step        int // steps done
	Steps       int
	Percent     int
	Attempts    int   // tries that met an error
	RunAt       int64 // not before
	LeaseOwner  string
	LeaseUntil  int64
	LastError   Failure
	RequestID   string
	CalledAt    int64 // when the backend was asked to create it; the answer may have been lost
	FormKey     string
	AskedBy     string
	AskedAt     int64
	StartedAt   int64
	FinishedAt  int64

	Replayed bool `gorm:"-"` // the same form was sent before; this is what it made
	First    bool `gorm:"-"` // claimed for the first time, so the backend was certainly not asked yet
}

// StepNames are the visible steps of the operation, in order, as keys of the
// catalog below «step.». Of what a backend only accepts (and may refuse later) the
// first step is that it accepted.
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
	case VolumeAttach:
		return []string{"attach", "wait"}
	case VolumeDetach:
		return []string{"detach", "wait"}
	case VolumeRevert:
		return []string{"revert", "wait"}
	case VolumeRepair, SnapshotRepair:
		return []string{"repair"}
	}
	return []string{"edit"}
}

// Params are the arguments of an operation, as asked.
type Params struct {
	VolumeID       string `json:"volume_id,omitempty"`
	SnapshotID     string `json:"snapshot_id,omitempty"`
	ImageID        string `json:"image_id,omitempty"`
	ServerID       string `json:"server_id,omitempty"`
	Name           string `json:"name,omitempty"`
	Description    string `json:"description,omitempty"`
	OldName        string `json:"old_name,omitempty"`
	OldDescription string `json:"old_description,omitempty"`
	SizeGiB        int    `json:"size_gib,omitempty"`
	PriorStatus    Status `json:"was,omitempty"` // the status before the click, to return to when it is refused
	ResetTo        Status `json:"reset_to,omitempty"`
	Reason         string `json:"reason,omitempty"`
	Force          bool   `json:"force,omitempty"`
	Attached       bool   `json:"attached,omitempty"`
	Acknowledged   bool   `json:"acknowledged,omitempty"`
	Retried        bool   `json:"again,omitempty"`      // it failed before and is tried again
	BackendID      string `json:"backend_id,omitempty"` // of a deletion: listings that were under way may still have it
	// Of a revert: when the volume and the snapshot had changed last before the backend was asked, microseconds
	// of its clock. Whoever does not get the answer sees in them whether it happened.
	VolumeChanged   int64 `json:"volume_changed,omitempty"`
	SnapshotChanged int64 `json:"snapshot_changed,omitempty"`
}

// Value stores the parameters as JSON.
func (p Params) Value() (driver.Value, error) {
	b, err := json.Marshal(p)
	return string(b), err
}

// Scan reads them back.
func (p *Params) Scan(src any) error {
	switch v := src.(type) {
	case string:
		return json.Unmarshal([]byte(v), p)
	case []byte:
		return json.Unmarshal(v, p)
	}
	return fmt.Errorf("params: cannot scan %T", src)
}

// Finished says that the operation has ended.
func (o *Operation) Finished() bool { return o.FinishedAt > 0 }

// ErrLeaseLost says that another worker has the operation now.
var ErrLeaseLost = errors.New("lease lost")

func (p Params) Summary() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return string(b)
}

// OperationQuery asks for a page of operations, newest first.
type OperationQuery struct {
	State   OperationState // empty: any
	Subject string         // id; empty: any
	Before  int64          // num; 0: from the newest
	Limit   int
}

// Cancellable says that the operation has not begun and can be taken back.
func (o *Operation) Cancellable() bool {
	neverRan := o.StartedAt == 0 && o.RunAt == o.AskedAt // one that is tried again has run
	return o.State == Pending && neverRan && o.Kind != VolumeRepair && o.Kind != SnapshotRepair
}

// Retryable says that the operation failed and may simply be tried again.
func (o *Operation) Retryable() bool {
	if o.State != Failed {
		return false
	}
	switch o.Kind {
	case VolumeCreate, SnapshotCreate, SnapshotRestore, VolumeExtend, VolumeAttach, VolumeDetach:
		return true
	}
	return false
}
