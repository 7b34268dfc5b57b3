package models

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Action is something a user requests for a volume or snapshot.
type Action string

// The actions.
const (
	ActCreateVolume   Action = "volume.create"
	ActCreateSnapshot Action = "snapshot.create"
	ActEdit           Action = "edit"
	ActExtend         Action = "extend"
	ActAttach         Action = "attach"
	ActDetach         Action = "detach"
	ActDelete         Action = "delete"
	ActRestore        Action = "restore"
	ActRevert         Action = "revert"
	ActRepair         Action = "repair"
	ActCheck          Action = "check"
	ActLock           Action = "lock"
	ActUnlock         Action = "unlock"
)

// StuckAfter is how long an object must be in transition before an administrator may
// repair it.
const StuckAfter = time.Hour

// NeededRole is the least role an action needs.
func (a Action) NeededRole() Role {
	if a == ActRepair || a == ActCheck || a == ActUnlock {
		return Administrator
	}
	return Operator
}

// Denial is why an action is refused. Volumes, Snaps and Servers are the blockers.
type Denial struct {
	Text     Text
	Guidance Text // what to do first; may be empty
	Volumes  []Link
	Snaps    []Link
	Servers  []string // names
	role     bool
}

// Link is an object to link to.
type Link struct{ ID, Name string }

// Code is CodeForbidden when the user's role is too low, otherwise CodeConflict.
func (d *Denial) Code() Code {
	if d.role {
		return CodeForbidden
	}
	return CodeConflict
}

// NewDenial makes a Denial without blockers.
func NewDenial(key string, args ...string) *Denial { return &Denial{Text: NewText(key, args...)} }

// Rules decides whether an action is allowed, and if not, why. Pages ask it to render
// buttons, the store before it writes; the statuses are checked again in the WHERE
// clause of the UPDATE.
type Rules struct {
	Capabilities Capabilities
	Now          time.Time // for locks, and for how long an object has been in transition
}

// CanRole returns why the role does not allow the action; nil when it does.
func CanRole(action Action, role Role) *Denial {
	if role.Allows(action.NeededRole()) {
		return nil
	}
	return &Denial{Text: NewText("deny.role", string(action.NeededRole())), role: true}
}

// Room returns why nothing new can be made on the storage's disk; nil when it can, or when
// the action makes nothing new.
func (r Rules) Room(action Action) *Denial {
	if action != ActCreateVolume && action != ActCreateSnapshot {
		return nil
	}
	if action == ActCreateVolume && r.Capabilities.MaxSizeGiB == 0 {
		return NewDenial("size.none")
	}
	short := r.Capabilities.Shortage
	if short == nil {
		return nil
	}
	return NewDenial("deny.short."+string(short.Cause), short.Disk, strconv.FormatInt(short.Free, 10), strconv.FormatInt(short.Total, 10))
}

// VolumeStatusesFor returns the statuses in which a volume allows the action; nil
// means any but DELETING.
func (r Rules) VolumeStatusesFor(action Action) []Status {
	switch action {
	case ActCreateSnapshot:
		return []Status{Available, InUse}
	case ActExtend:
		if r.Capabilities.ExtendAttached {
			return []Status{Available, InUse}
		}
		return []Status{Available}
	case ActAttach:
		if r.Capabilities.MultiAttach {
			return []Status{Available, InUse}
		}
		return []Status{Available}
	case ActDetach:
		if r.Capabilities.OwnServers { // a detach that waits for clients can be forced
			return []Status{InUse, Detaching}
		}
		return []Status{InUse}
	case ActDelete:
		return []Status{Available, ErrorStatus}
	case ActRevert:
		return []Status{Available}
	}
	return nil
}

// SnapshotStatusesFor returns the statuses in which a snapshot allows the action; nil
// means any but DELETING.
func SnapshotStatusesFor(action Action) []Status {
	switch action {
	case ActDelete:
		return []Status{Available, ErrorStatus}
	case ActRestore, ActRevert, ActAttach, ActCheck:
		return []Status{Available}
	case ActDetach:
		return []Status{Available, Restoring, ErrorStatus}
	}
	return nil
}

// Volume returns why the volume does not allow the action now; nil when it does.
func (r Rules) Volume(action Action, v *Volume) *Denial {
	if (action == ActAttach || action == ActDetach) && !r.Capabilities.Attach {
		return NewDenial("deny.unsupported")
	}
	if action == ActRevert && !r.Capabilities.Revert {
		return NewDenial("deny.unsupported")
	}
	if action == ActRepair {
		return r.repair(v.Status, v.StatusSince, v.Failure.MayBeLost() && v.AttachmentCount == 0)
	}
	if action == ActDetach && v.Status == ErrorStatus && v.AttachmentCount > 0 && r.Capabilities.OwnServers {
		return nil // its data was damaged while it was attached
	}
	if d := statusDenial(action, v.Status, r.VolumeStatusesFor(action)); d != nil {
		if action == ActDelete && v.Status == InUse {
			return &Denial{Text: NewText("deny.attached"), Servers: v.ServerNames(), Guidance: NewText("guide.detach")}
		}
		return d
	}
	switch action {
	case ActDelete:
		return r.volumeBlockers(v)
	case ActRevert:
		return v.Lock.Denial(r.Now)
	case ActLock:
		if v.Status == Restoring { // it would come too late
			return NewDenial("deny.status", string(v.Status))
		}
	case ActUnlock:
		return v.Lock.unlockDenial(r.Now)
	}
	return nil
}

func (r Rules) volumeBlockers(v *Volume) *Denial {
	switch {
	case v.AttachmentCount > 0:
		return &Denial{Text: NewText("deny.attached"), Servers: v.ServerNames(), Guidance: NewText("guide.detach")}
	case v.SnapshotCount > 0:
		return &Denial{Text: NewText("deny.has_snapshots", strconv.Itoa(v.SnapshotCount)), Guidance: NewText("guide.delete_snapshots")}
	}
	return v.Lock.Denial(r.Now)
}

// Snapshot returns why the snapshot does not allow the action now; nil when it does.
// dependents are the volumes that block its deletion.
func (r Rules) Snapshot(action Action, s *Snapshot, dependents ...Link) *Denial {
	if action == ActRevert && !r.Capabilities.Revert || (action == ActAttach || action == ActDetach) && !r.Capabilities.AttachSnapshots {
		return NewDenial("deny.unsupported")
	}
	if action == ActCheck && !r.Capabilities.Checksums {
		return NewDenial("deny.unsupported")
	}
	if action == ActRepair {
		return r.repair(s.Status, s.StatusSince, s.Failure.MayBeLost() && s.AttachmentCount == 0)
	}
	if d := statusDenial(action, s.Status, SnapshotStatusesFor(action)); d != nil {
		return d
	}
	switch action {
	case ActDetach:
		if s.AttachmentCount == 0 {
			return NewDenial("deny.not_attached")
		}
	case ActDelete:
		return r.snapshotBlockers(s, dependents)
	case ActUnlock:
		return s.Lock.unlockDenial(r.Now)
	}
	return nil
}

// snapshotBlockers is why a snapshot in a status that allows it cannot be deleted.
func (r Rules) snapshotBlockers(s *Snapshot, dependents []Link) *Denial {
	if s.AttachmentCount > 0 {
		return &Denial{Text: NewText("deny.attached"), Servers: s.ServerNames(), Guidance: NewText("guide.detach")}
	}
	if d := s.Lock.Denial(r.Now); d != nil || len(dependents) == 0 {
		return d
	}
	return &Denial{Text: NewText("deny.has_volumes", strconv.Itoa(len(dependents))), Volumes: dependents}
}

func statusDenial(action Action, status Status, allowed []Status) *Denial {
	if allowed == nil {
		if status != Deleting {
			return nil
		}
		return NewDenial("deny.deleting")
	}
	if slices.Contains(allowed, status) {
		return nil
	}
	if action == ActDelete && status == ErrorDeleting {
		return NewDenial("deny.error_deleting")
	}
	var names []string
	for _, s := range allowed {
		names = append(names, string(s))
	}
	return NewDenial("deny.status", string(status), strings.Join(names, ", "))
}

// repair allows ERROR_DELETING, ERROR by a damage from which an administrator can
// recover, and being in transition for longer than StuckAfter.
func (r Rules) repair(status Status, since int64, mayBeLost bool) *Denial {
	if !r.Capabilities.Repair {
		return NewDenial("deny.unsupported")
	}
	if status == ErrorDeleting || status == ErrorStatus && mayBeLost {
		return nil
	}
	canStick := slices.Contains([]Status{Creating, Deleting, Attaching, Detaching}, status)
	if canStick && since > 0 && Micros(r.Now)-since > StuckAfter.Microseconds() {
		return nil
	}
	return NewDenial("deny.not_stuck", string(status))
}
