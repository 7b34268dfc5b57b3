package models

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"
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
type SubjectType string

// The subject types; they are also the kinds of the changes table.
const (
	SubjectVolume    SubjectType = "volume"
	SubjectSnapshot  SubjectType = "snapshot"
	SubjectOperation SubjectType = "operation"
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
	FormKey     string
	AskedBy     string
	AskedAt     int64
	StartedAt   int64
	FinishedAt  int64

	Replayed bool `gorm:"-"` // the same form was sent before; this is what it made
	First    bool `gorm:"-"` // claimed for the first time, so the backend was certainly not asked yet
}

// StepNames are the visible steps of the operation, in order. Of what a backend
// only accepts (and may refuse later) the first step is that it accepted.
func (o *Operation) StepNames() []string {
	switch o.Kind {
	case VolumeCreate, SnapshotRestore:
		if o.Params.ServerID != "" {
			return []string{"create", "attach"}
		}
		return []string{"create"}
	case VolumeDelete, SnapshotDelete, VolumeExtend, VolumeAttach, VolumeDetach, VolumeRevert:
		return []string{"request", "confirm"}
	case SnapshotCreate:
		return []string{"create"}
	}
	return []string{"request"}
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
	Was            Status `json:"was,omitempty"` // the status before the click, to return to when it is refused
	ResetTo        Status `json:"reset_to,omitempty"`
	Reason         string `json:"reason,omitempty"`
	Force          bool   `json:"force,omitempty"`
	Attached       bool   `json:"attached,omitempty"`
	Acknowledged   bool   `json:"acknowledged,omitempty"`
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

// Over says that the operation has ended.
func (o *Operation) Over() bool { return o.FinishedAt > 0 }

// ErrLeaseLost says that another worker has the operation now.
var ErrLeaseLost = errors.New("lease lost")

// ask is one click: fn checks and changes the rows and returns the operation and
// its audit line; both are written in the same transaction. The same form key
// sent again returns the operation that it made the first time.
func (s *Store) ask(ctx context.Context, actor Actor, formKey string, fn func(tx *gorm.DB) (*Operation, error)) (*Operation, error) {
	if formKey != "" {
		formKey = actor.UserID + ":" + formKey
		if before, err := s.operationOfForm(s.read(ctx), formKey); before != nil || err != nil {
			return before, err
		}
	}
	var op *Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		var err error
		if op, err = fn(tx); err != nil {
			return err
		}
		s.fillIn(op, actor, formKey)
		if err := tx.Create(op).Error; err != nil {
			return err
		}
		return s.record(tx, actor, AuditEntry{
			Action: string(op.Kind), SubjectType: string(op.SubjectType), SubjectID: op.SubjectID,
			SubjectName: op.SubjectName, Detail: op.Params.summary(), Outcome: "accepted",
		})
	})
	if formKey != "" && err != nil {
		// Its twin may have been a moment faster: then the rows have already changed under this one.
		if before, again := s.operationOfForm(s.read(ctx), formKey); before != nil || again != nil {
			return before, again
		}
	}
	return op, err
}

func (s *Store) fillIn(op *Operation, actor Actor, formKey string) {
	op.ID = NewID()
	op.ProjectID = actor.Project
	op.FormKey = formKey
	op.State = Pending
	op.Steps = len(op.StepNames())
	op.Percent = -1
	op.AskedBy = actor.Name
	op.AskedAt = Micros(s.Now())
	op.RunAt = op.AskedAt
	if op.Lane == "" {
		op.Lane = op.SubjectID
	}
}

func (s *Store) operationOfForm(q *gorm.DB, formKey string) (*Operation, error) {
	var op Operation
	err := first(q.Where("form_key = ?", formKey), &op)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	op.Replayed = true
	return &op, err
}

func (p Params) summary() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return string(b)
}

// Claim takes the next operation that is due and whose lane is free, for the
// worker called owner, until lease has passed. Nil: there is none.
func (s *Store) Claim(ctx context.Context, owner string, lease time.Duration) (*Operation, error) {
	now := s.Now()
	skipLocked := ""
	if s.postgres {
		skipLocked = "FOR UPDATE SKIP LOCKED"
	}
	var op Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		return tx.Raw(`UPDATE operations SET state = ?, lease_owner = ?, lease_until = ?,
				started_at = CASE WHEN started_at = 0 THEN ? ELSE started_at END
			WHERE num = (SELECT o.num FROM operations o WHERE o.finished_at = 0 AND o.run_at <= ? AND o.lease_until <= ?
				AND NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.finished_at = 0 AND p.num < o.num)
				ORDER BY o.run_at, o.num LIMIT 1 `+skipLocked+`)
			RETURNING *`, Running, owner, Micros(now.Add(lease)), Micros(now), Micros(now), Micros(now)).Scan(&op).Error
	})
	if err != nil || op.ID == "" {
		return nil, err
	}
	op.First = op.StartedAt == Micros(now)
	return &op, nil
}

// Heartbeat prolongs the lease; ErrLeaseLost when another worker has it.
func (s *Store) Heartbeat(ctx context.Context, op *Operation, lease time.Duration) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		return s.leased(tx, op, map[string]any{"lease_until": Micros(s.Now().Add(lease))})
	})
}

// leased updates an operation as long as its lease is held.
func (s *Store) leased(tx *gorm.DB, op *Operation, set map[string]any) error {
	result := tx.Model(&Operation{}).Where("num = ? AND lease_owner = ? AND finished_at = 0", op.Num, op.LeaseOwner).Updates(set)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 {
		return ErrLeaseLost
	}
	return nil
}

// NextDue is when the next operation may be claimed; zero when there is none. An
// operation whose lane is busy counts as due: whoever ends the lane's present one
// signals a change.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var at *int64
	err := s.read(ctx).Raw(`SELECT min(CASE WHEN lease_until > run_at THEN lease_until ELSE run_at END) FROM operations o
		WHERE finished_at = 0 AND NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.finished_at = 0 AND p.num < o.num)`).Scan(&at).Error
	if err != nil || at == nil {
		return time.Time{}, err
	}
	return time.UnixMicro(*at), nil
}

// Running is how many operations of the project are not over.
func (s *Store) Running(ctx context.Context, project string) (int64, error) {
	var n int64
	err := s.read(ctx).Model(&Operation{}).Where("project_id = ? AND state IN ?", project, []OperationState{Pending, Running}).Count(&n).Error
	return n, err
}

// Operation finds one operation.
func (s *Store) Operation(ctx context.Context, actor Actor, id string) (*Operation, error) {
	var op Operation
	if err := first(s.read(ctx).Where("project_id = ? AND id = ?", actor.Project, id), &op); err != nil {
		return nil, err
	}
	return &op, nil
}

// OperationQuery asks for a page of operations, newest first.
type OperationQuery struct {
	State   OperationState // empty: any
	Subject string         // id; empty: any
	Before  int64          // num; 0: from the newest
	Limit   int
}

// Operations lists operations, newest first.
func (s *Store) Operations(ctx context.Context, actor Actor, query OperationQuery) ([]Operation, error) {
	q := s.read(ctx).Where("project_id = ?", actor.Project).Order("num DESC").Limit(query.Limit)
	if query.State != "" {
		q = q.Where("state = ?", query.State)
	}
	if query.Subject != "" {
		q = q.Where("subject_id = ?", query.Subject)
	}
	if query.Before > 0 {
		q = q.Where("num < ?", query.Before)
	}
	var ops []Operation
	return ops, q.Find(&ops).Error
}
