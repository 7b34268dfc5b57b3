package local

import (
	"context"

	"blockconsole/models/backend"
)

// RepairVolume ends a failed state. AVAILABLE needs a complete data file. Work under
// way cannot be repaired, except a detachment that waits for clients: it disconnects
// them. Errors: CodeInvalid, CodeNotFound, CodeConflict, CodeDamaged, CodeNoSpace,
// CodeUnavailable.
func (b *Backend) RepairVolume(ctx context.Context, key backend.Key, to backend.Status) error {
	if err := checkRepair(to); err != nil {
		return err
	}
	if err := b.forceDetach(ctx, volumes, key); err != nil {
		return err
	}
	return b.repair(ctx, volumes, key, to)
}

// RepairSnapshot ends a failed state. Errors: those of RepairVolume.
func (b *Backend) RepairSnapshot(ctx context.Context, key backend.Key, to backend.Status) error {
	if err := checkRepair(to); err != nil {
		return err
	}
	if err := b.forceDetach(ctx, snapshots, key); err != nil {
		return err
	}
	return b.repair(ctx, snapshots, key, to)
}

func checkRepair(to backend.Status) error {
	if to != backend.ErrorStatus && to != backend.Available {
		return &backend.Error{Code: backend.CodeInvalid, Field: "status", Why: backend.WhyNoStatus, Message: "ERROR or AVAILABLE"}
	}
	return nil
}

func (b *Backend) repair(ctx context.Context, k kind, key backend.Key, to backend.Status) error {
	o, unlock, err := b.lockObject(ctx, k, key)
	if err != nil {
		return err
	}
	defer unlock()
	b.mu.Lock()
	m, l, working, damaged := o.meta, o.location, o.job != nil, o.damage != nil
	b.mu.Unlock()
	switch {
	case working:
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyWorking, Message: "the work is still going on"}
	case m.Status == to:
		return b.repairFiles(o, l, m)
	case damaged && to == backend.ErrorStatus:
		return nil // which it shows
	}
	size, err := m.dataSizeGiB(b.objectDir(l, m))
	complete := l != unpublished && err == nil
	if d, _ := b.findDamage(m, nil, nil); to == backend.Available && l == published && !complete && d != nil {
		return d
	}
	if to == backend.Available && !complete {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyDataWrong, Message: "the data file is missing or has the wrong size"}
	}
	if complete {
		m.SizeGiB, m.ExtendingTo = size, 0
	}
	if l != unpublished {
		if err := b.writeRepaired(o, l, m, to, complete); err != nil {
			return b.portError(err, overheadBytes)
		}
	}
	b.setSize(o, m.SizeGiB, m.ExtendingTo)
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.job != nil {
		return nil // a delete call came meanwhile and waits for the files
	}
	b.setStatusLocked(o, to, nil)
	b.dropKeptLocked(o)
	if complete && o.createFailed { // after everything was there
		o.createFailed = false
		b.setChildLocked(o, true)
	}
	return nil
}

// repairFiles writes a description anew that somebody removed. Errors: CodeDamaged where
// the data is, CodeNoSpace, CodeUnavailable.
func (b *Backend) repairFiles(o *object, l location, m meta) error {
	switch d := b.inspect(o); {
	case d == nil:
		return nil
	case d.Damage != backend.NoDescription:
		return d
	}
	if err := b.replaceMeta(l, m.withFinalStatus()); err != nil {
		return b.portError(err, overheadBytes)
	}
	_ = b.inspect(o)
	return nil
}

// writeRepaired moves a complete object out of the trash and writes its new status.
// Incomplete ones stay there for the next Open to remove.
func (b *Backend) writeRepaired(o *object, l location, m meta, to backend.Status, complete bool) error {
	if l == trashed && complete {
		if err := b.disk.rename(b.objectDir(trashed, m), b.objectDir(published, m)); err != nil {
			return err
		}
		b.setLocation(o, published)
		if err := b.syncDirs(string(m.Kind), "trash"); err != nil {
			return err
		}
		l = published
	}
	return b.replaceMeta(l, b.withStatus(m, to, nil))
}
