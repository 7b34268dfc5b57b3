package models

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
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
// takeOne step is that it accepted.
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
	BackendID      string `json:"backend_id,omitempty"` // idOf a deletion: listings that were under way may still have it
	// Of a revert: when the volume and the snapshot had changed last before the backend was asked, microseconds
	// idOf its clock. Whoever does not get the answer sees in them whether it happened.
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

// enqueue is one click: fn checks and changes the rows and returns the operation and
// its audit line; both are written in the same transaction. The same form key
// sent again returns the operation that it made the first time.
func (s *Store) enqueue(ctx context.Context, actor Actor, formKey string, fn func(tx *gorm.DB) (*Operation, error)) (*Operation, error) {
	if formKey != "" {
		sum := sha256.Sum256([]byte(actor.UserID + ":" + formKey)) // it may hold anything
		formKey = hex.EncodeToString(sum[:])
		if before, err := s.operationByFormKey(s.read(ctx), formKey); before != nil || err != nil {
			return before, err
		}
	}
	var op *Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		var err error
		if op, err = fn(tx); err != nil {
			return err
		}
		s.prepare(op, actor, formKey)
		if err := tx.Create(op).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, AuditEntry{
			Action: string(op.Kind), SubjectType: string(op.SubjectType), SubjectID: op.SubjectID,
			SubjectName: op.SubjectName, Detail: op.Params.Summary(), Outcome: "accepted",
		})
	})
	if formKey != "" && err != nil {
		// Its twin may have been a moment faster: then the rows have already changed under this one.
		if before, again := s.operationByFormKey(s.read(ctx), formKey); before != nil || again != nil {
			return before, again
		}
	}
	return op, err
}

func (s *Store) prepare(op *Operation, actor Actor, formKey string) {
	op.ID = NewID()
	op.ProjectID = cmp.Or(op.ProjectID, s.projectFor(actor))
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

func (s *Store) operationByFormKey(q *gorm.DB, formKey string) (*Operation, error) {
	var op Operation
	err := takeOne(q.Where("form_key = ? AND form_key <> ''", formKey), &op) // the index has no others
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	op.Replayed = true
	return &op, err
}

func (p Params) Summary() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return string(b)
}

// claimable are the operations whose lane is free for them: its present one, or,
// when none is, the first that was asked.
const claimable = `o.finished_at = 0 AND (o.state = 'RUNNING' OR (
	NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.finished_at = 0 AND p.num < o.num)
	AND NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.state = 'RUNNING')))`

// Claim takes the next operation that is due and whose lane is free, for the
// worker called owner, until lease has passed. Nil: there is none. Every claim
// should have its own owner: then nobody else saves what this one did.
func (s *Store) Claim(ctx context.Context, owner string, lease time.Duration) (*Operation, error) {
	now := s.Now()
	const due = "SELECT o.num FROM operations o WHERE " + claimable + " AND o.run_at <= ? AND o.lease_until <= ? ORDER BY o.run_at, o.num LIMIT 1"
	var found int64
	if err := s.read(ctx).Raw(due, Micros(now), Micros(now)).Scan(&found).Error; err != nil || found == 0 {
		return nil, err
	}
	var op Operation
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		op = Operation{}
		skipLocked := ""
		if s.postgres {
			// One claim at a time: each sees the lanes that the others have taken.
			if err := lockQueue(tx); err != nil {
				return err
			}
			skipLocked = " FOR UPDATE SKIP LOCKED"
		}
		return tx.Raw(`UPDATE operations SET state = 'RUNNING', lease_owner = ?, lease_until = ?,
				started_at = CASE WHEN started_at = 0 THEN ? ELSE started_at END
			WHERE num = (`+due+skipLocked+`) RETURNING *`, owner, Micros(now.Add(lease)), Micros(now), Micros(now), Micros(now)).Scan(&op).Error
	})
	if err != nil || op.ID == "" {
		return nil, err
	}
	s.signals.wake()
	op.First = op.StartedAt == Micros(now)
	return &op, nil
}

// lockQueue keeps other claims from PostgreSQL until the transaction ends.
func lockQueue(tx *gorm.DB) error {
	return tx.Exec("SELECT pg_advisory_xact_lock(?)", lockClaims).Error
}

// Heartbeat prolongs the lease; ErrLeaseLost when another worker has it.
func (s *Store) Heartbeat(ctx context.Context, op *Operation, lease time.Duration) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"lease_until": Micros(s.Now().Add(lease))})
	})
}

// RecordCall records that the backend is about to be asked for what must not happen
// twice, and the operation's parameters as they are now: when the answer is lost,
// the next worker knows how long it may take to become visible. ErrLeaseLost.
func (s *Store) RecordCall(ctx context.Context, op *Operation) error {
	now := Micros(s.Now())
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"called_at": now, "params": op.Params})
	})
	if err == nil {
		op.CalledAt = now
	}
	return err
}

// ForgetCall takes the last RecordCall back, since the backend was not reached: what
// counts is what it said at before. ErrLeaseLost.
func (s *Store) ForgetCall(ctx context.Context, op *Operation, before int64) error {
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"called_at": before})
	})
	if err == nil {
		op.CalledAt = before
	}
	return err
}

// updateLeased updates an operation as long as its lease is held.
func (s *Store) updateLeased(tx *gorm.DB, op *Operation, set map[string]any) error {
	result := tx.Model(&Operation{}).Where("num = ? AND lease_owner = ? AND finished_at = 0", op.Num, op.LeaseOwner).Updates(set)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 {
		return ErrLeaseLost
	}
	return nil
}

// NextDue is when the next operation may be claimed; zero when there is none. One
// whose lane is taken does not count: whoever frees the lane signals a change.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var at *int64
	err := s.read(ctx).Raw(`SELECT min(CASE WHEN o.lease_until > o.run_at THEN o.lease_until ELSE o.run_at END)
		FROM operations o WHERE ` + claimable).Scan(&at).Error
	if err != nil || at == nil {
		return time.Time{}, err
	}
	return time.UnixMicro(*at), nil
}

// Running is how many operations of the project are not over.
func (s *Store) Running(ctx context.Context, project string) (int64, error) {
	var n int64
	q := inProject(s.read(ctx).Model(&Operation{}), s.scope(project))
	err := q.Where("state IN ?", []OperationState{Pending, Running}).Count(&n).Error
	return n, err
}

// Operation finds one operation.
func (s *Store) Operation(ctx context.Context, actor Actor, id string) (*Operation, error) {
	var op Operation
	if err := takeOne(inProject(s.read(ctx), s.scope(actor.Project)).Where("id = ?", searchable(id)), &op); err != nil {
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
	q := s.read(ctx).Order("num DESC").Limit(query.Limit)
	scope := s.scope(actor.Project)
	switch {
	case query.Subject == "":
		q = inProject(q, scope)
	case scope == everyProject:
		q = q.Where("subject_id = ?", searchable(query.Subject))
	default:
		q = q.Where("subject_id = ? AND "+s.unindexed("project_id")+" = ?", searchable(query.Subject), scope)
	}
	if query.State != "" {
		q = q.Where("state = ?", searchable(string(query.State)))
	}
	if query.Before > 0 {
		q = q.Where("num < ?", query.Before)
	}
	var ops []Operation
	return ops, q.Find(&ops).Error
}
