package models

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Action is something a user asks of a volume or snapshot.
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
)

// StuckAfter is how long an object may be in transition before an administrator
// may repair it.
const StuckAfter = time.Hour

// NeededRole is the least role an action needs.
func (a Action) NeededRole() Role {
	if a == ActRepair {
		return Administrator
	}
	return Operator
}

// Denial says why an action is refused, and names the blockers.
type Denial struct {
	Text     Text
	Guidance Text
	Volumes  []Link // blockers
	Snaps    []Link
	Servers  []string
	role     bool
}

// Link names an object.
type Link struct{ ID, Name string }

// Code is forbidden when the role is what is missing, otherwise conflict.
func (d *Denial) Code() Code {
	if d.role {
		return CodeForbidden
	}
	return CodeConflict
}

func NewDenial(key string, args ...string) *Denial { return &Denial{Text: NewText(key, args...)} }

// Rules answers «may this be done, and if not, why» for everybody: it renders the
// buttons, guards the handlers, and its statuses are checked again in the WHERE
// clause of the writing statement.
type Rules struct {
	Capabilities Capabilities
	Now          time.Time
}

// CanRole refuses an action that the role does not allow.
func CanRole(action Action, role Role) *Denial {
	if role.Allows(action.NeededRole()) {
		return nil
	}
	return &Denial{Text: NewText("deny.role", string(action.NeededRole())), role: true}
}

// VolumeStatusesFor are the statuses in which a volume takes the action; nil
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
		if r.Capabilities.OwnServers { // a detaching that waits for clients can be made one that cuts them off
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

// SnapshotStatusesFor are the statuses in which a snapshot takes the action; nil
// means any but DELETING.
func SnapshotStatusesFor(action Action) []Status {
	switch action {
	case ActDelete:
		return []Status{Available, ErrorStatus}
	case ActRestore, ActRevert:
		return []Status{Available}
	}
	return nil
}

// Volume says why the volume does not take the action now; nil: it does.
func (r Rules) Volume(action Action, v *Volume) *Denial {
	if (action == ActAttach || action == ActDetach) && !r.Capabilities.Attach {
		return NewDenial("deny.unsupported")
	}
	if action == ActRevert && !r.Capabilities.Revert {
		return NewDenial("deny.unsupported")
	}
	if action == ActRepair {
		return r.repair(v.Status, v.StatusSince)
	}
	if d := statusDenial(action, v.Status, r.VolumeStatusesFor(action)); d != nil {
		if action == ActDelete && v.Status == InUse {
			return &Denial{Text: NewText("deny.attached"), Servers: v.ServerNames(), Guidance: NewText("guide.detach")}
		}
		return d
	}
	if action == ActDelete {
		return r.volumeBlockers(v)
	}
	return nil
}

func (r Rules) volumeBlockers(v *Volume) *Denial {
	switch {
	case v.AttachmentCount > 0:
		return &Denial{Text: NewText("deny.attached"), Servers: v.ServerNames(), Guidance: NewText("guide.detach")}
	case v.SnapshotCount > 0:
		return &Denial{Text: NewText("deny.has_snapshots", strconv.Itoa(v.SnapshotCount)), Guidance: NewText("guide.delete_snapshots")}
	case v.LockedUntil > Micros(r.Now):
		return NewDenial("deny.locked", v.LockReason)
	}
	return nil
}

// Snapshot says why the snapshot does not take the action now; nil: it does.
// dependents are volumes that stand in the way of deleting it.
func (r Rules) Snapshot(action Action, s *Snapshot, dependents ...Link) *Denial {
	if action == ActRevert && !r.Capabilities.Revert {
		return NewDenial("deny.unsupported")
	}
	if action == ActRepair {
		return r.repair(s.Status, s.StatusSince)
	}
	if d := statusDenial(action, s.Status, SnapshotStatusesFor(action)); d != nil {
		return d
	}
	if action == ActDelete {
		switch {
		case s.LockedUntil > Micros(r.Now):
			return NewDenial("deny.locked", s.LockReason)
		case len(dependents) > 0:
			return &Denial{Text: NewText("deny.has_volumes", strconv.Itoa(len(dependents))), Volumes: dependents}
		}
	}
	return nil
}

func statusDenial(action Action, is Status, allowed []Status) *Denial {
	if allowed == nil {
		if is != Deleting {
			return nil
		}
		return NewDenial("deny.deleting")
	}
	if slices.Contains(allowed, is) {
		return nil
	}
	if action == ActDelete && is == ErrorDeleting {
		return NewDenial("deny.error_deleting")
	}
	var words []string
	for _, s := range allowed {
		words = append(words, string(s))
	}
	return NewDenial("deny.status", string(is), strings.Join(words, ", "))
}

// repair: ERROR_DELETING, or stuck in transition for longer than StuckAfter.
func (r Rules) repair(is Status, since int64) *Denial {
	if !r.Capabilities.Repair {
		return NewDenial("deny.unsupported")
	}
	if is == ErrorDeleting {
		return nil
	}
	stuck := slices.Contains([]Status{Creating, Deleting, Attaching, Detaching}, is)
	if stuck && since > 0 && Micros(r.Now)-since > StuckAfter.Microseconds() {
		return nil
	}
	return NewDenial("deny.not_stuck", string(is))
}
