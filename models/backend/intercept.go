package backend

import (
	"context"
	"time"
)

// Interceptor runs one call of a backend: it may limit its time, measure, log or
// retry it.
type Interceptor func(ctx context.Context, method string, call func(ctx context.Context) error) error

// Intercept returns b with every call run by interceptor. The result is an
// [Exporter] when b is one.
func Intercept(b Backend, interceptor Interceptor) Backend {
	i := intercepted{b, interceptor}
	if e, ok := b.(Exporter); ok {
		return interceptedExporter{i, e}
	}
	return i
}

type intercepted struct {
	b   Backend
	run Interceptor
}

// returning runs a call that has a result; one that fails has none.
func returning[T any](ctx context.Context, i intercepted, method string, call func(ctx context.Context) (T, error)) (T, error) {
	var result, none T
	err := i.run(ctx, method, func(ctx context.Context) (err error) {
		result, err = call(ctx)
		return err
	})
	if err != nil {
		return none, err
	}
	return result, nil
}

func (i intercepted) Capabilities(ctx context.Context) (Capabilities, error) {
	return returning(ctx, i, "Capabilities", i.b.Capabilities)
}

func (i intercepted) Volumes(ctx context.Context, marker string, limit int) (Page[Volume], error) {
	return returning(ctx, i, "Volumes", func(ctx context.Context) (Page[Volume], error) { return i.b.Volumes(ctx, marker, limit) })
}

func (i intercepted) Snapshots(ctx context.Context, marker string, limit int) (Page[Snapshot], error) {
	return returning(ctx, i, "Snapshots", func(ctx context.Context) (Page[Snapshot], error) { return i.b.Snapshots(ctx, marker, limit) })
}

func (i intercepted) Servers(ctx context.Context, marker string, limit int) (Page[Server], error) {
	return returning(ctx, i, "Servers", func(ctx context.Context) (Page[Server], error) { return i.b.Servers(ctx, marker, limit) })
}

func (i intercepted) Images(ctx context.Context) ([]Image, error) {
	return returning(ctx, i, "Images", i.b.Images)
}

func (i intercepted) Volume(ctx context.Context, key Key) (Volume, error) {
	return returning(ctx, i, "Volume", func(ctx context.Context) (Volume, error) { return i.b.Volume(ctx, key) })
}

func (i intercepted) Snapshot(ctx context.Context, key Key) (Snapshot, error) {
	return returning(ctx, i, "Snapshot", func(ctx context.Context) (Snapshot, error) { return i.b.Snapshot(ctx, key) })
}

func (i intercepted) ChangedVolumes(ctx context.Context, since time.Time) ([]Volume, error) {
	return returning(ctx, i, "ChangedVolumes", func(ctx context.Context) ([]Volume, error) { return i.b.ChangedVolumes(ctx, since) })
}

func (i intercepted) LastFailure(ctx context.Context, subject SubjectType, key Key, since time.Time) error {
	return i.run(ctx, "LastFailure", func(ctx context.Context) error { return i.b.LastFailure(ctx, subject, key, since) })
}

func (i intercepted) CreateVolume(ctx context.Context, spec VolumeSpec) (Volume, error) {
	return returning(ctx, i, "CreateVolume", func(ctx context.Context) (Volume, error) { return i.b.CreateVolume(ctx, spec) })
}

func (i intercepted) CreateSnapshot(ctx context.Context, spec SnapshotSpec) (Snapshot, error) {
	return returning(ctx, i, "CreateSnapshot", func(ctx context.Context) (Snapshot, error) { return i.b.CreateSnapshot(ctx, spec) })
}

func (i intercepted) RenameVolume(ctx context.Context, key Key, name, description string) error {
	return i.run(ctx, "RenameVolume", func(ctx context.Context) error { return i.b.RenameVolume(ctx, key, name, description) })
}

func (i intercepted) RenameSnapshot(ctx context.Context, key Key, name, description string) error {
	return i.run(ctx, "RenameSnapshot", func(ctx context.Context) error { return i.b.RenameSnapshot(ctx, key, name, description) })
}

func (i intercepted) ExtendVolume(ctx context.Context, key Key, sizeGiB int) error {
	return i.run(ctx, "ExtendVolume", func(ctx context.Context) error { return i.b.ExtendVolume(ctx, key, sizeGiB) })
}

func (i intercepted) DeleteVolume(ctx context.Context, key Key) error {
	return i.run(ctx, "DeleteVolume", func(ctx context.Context) error { return i.b.DeleteVolume(ctx, key) })
}

func (i intercepted) DeleteSnapshot(ctx context.Context, key Key) error {
	return i.run(ctx, "DeleteSnapshot", func(ctx context.Context) error { return i.b.DeleteSnapshot(ctx, key) })
}

func (i intercepted) RevertVolume(ctx context.Context, volume, snapshot Key) error {
	return i.run(ctx, "RevertVolume", func(ctx context.Context) error { return i.b.RevertVolume(ctx, volume, snapshot) })
}

func (i intercepted) AttachVolume(ctx context.Context, key Key, serverID string) error {
	return i.run(ctx, "AttachVolume", func(ctx context.Context) error { return i.b.AttachVolume(ctx, key, serverID) })
}

func (i intercepted) DetachVolume(ctx context.Context, key Key, serverID string, force bool) error {
	return i.run(ctx, "DetachVolume", func(ctx context.Context) error { return i.b.DetachVolume(ctx, key, serverID, force) })
}

func (i intercepted) AttachSnapshot(ctx context.Context, key Key, serverID string) error {
	return i.run(ctx, "AttachSnapshot", func(ctx context.Context) error { return i.b.AttachSnapshot(ctx, key, serverID) })
}

func (i intercepted) DetachSnapshot(ctx context.Context, key Key, serverID string, force bool) error {
	return i.run(ctx, "DetachSnapshot", func(ctx context.Context) error { return i.b.DetachSnapshot(ctx, key, serverID, force) })
}

func (i intercepted) RepairVolume(ctx context.Context, key Key, to Status) error {
	return i.run(ctx, "RepairVolume", func(ctx context.Context) error { return i.b.RepairVolume(ctx, key, to) })
}

func (i intercepted) RepairSnapshot(ctx context.Context, key Key, to Status) error {
	return i.run(ctx, "RepairSnapshot", func(ctx context.Context) error { return i.b.RepairSnapshot(ctx, key, to) })
}

func (i intercepted) CheckSnapshot(ctx context.Context, key Key, renew bool) error {
	return i.run(ctx, "CheckSnapshot", func(ctx context.Context) error { return i.b.CheckSnapshot(ctx, key, renew) })
}

func (i intercepted) SetLock(ctx context.Context, subject SubjectType, key Key, lock Lock) error {
	return i.run(ctx, "SetLock", func(ctx context.Context) error { return i.b.SetLock(ctx, subject, key, lock) })
}

type interceptedExporter struct {
	intercepted
	e Exporter
}

func (i interceptedExporter) Connections(ctx context.Context) ([]Connection, error) {
	return returning(ctx, i.intercepted, "Connections", i.e.Connections)
}

func (i interceptedExporter) Faults(ctx context.Context) (Faults, error) {
	return returning(ctx, i.intercepted, "Faults", i.e.Faults)
}

func (i interceptedExporter) Export(ctx context.Context, key Key) (Export, error) {
	return returning(ctx, i.intercepted, "Export", func(ctx context.Context) (Export, error) { return i.e.Export(ctx, key) })
}
