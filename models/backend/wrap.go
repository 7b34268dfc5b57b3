package backend

import (
	"context"
	"time"
)

// Around runs one call of a backend: it may bound its time, measure it, log it or
// repeat it. name is the method's.
type Around func(ctx context.Context, name string, call func(ctx context.Context) error) error

// Wrap returns b with every call run by around: timeouts, metrics and logs are
// written once, and in no backend. What Wrap returns is an [Exporter] when b is
// one.
func Wrap(b Backend, around Around) Backend {
	w := wrapped{b, around}
	if e, ok := b.(Exporter); ok {
		return wrappedExporter{w, e}
	}
	return w
}

type wrapped struct {
	b      Backend
	around Around
}

func returning[T any](ctx context.Context, w wrapped, name string, call func(ctx context.Context) (T, error)) (T, error) {
	var result T
	err := w.around(ctx, name, func(ctx context.Context) error {
		var err error
		result, err = call(ctx)
		return err
	})
	return result, err
}

func (w wrapped) Capabilities(ctx context.Context) (Capabilities, error) {
	return returning(ctx, w, "Capabilities", w.b.Capabilities)
}

func (w wrapped) Volumes(ctx context.Context, marker string, limit int) (Page[Volume], error) {
	return returning(ctx, w, "Volumes", func(ctx context.Context) (Page[Volume], error) { return w.b.Volumes(ctx, marker, limit) })
}

func (w wrapped) Snapshots(ctx context.Context, marker string, limit int) (Page[Snapshot], error) {
	return returning(ctx, w, "Snapshots", func(ctx context.Context) (Page[Snapshot], error) { return w.b.Snapshots(ctx, marker, limit) })
}

func (w wrapped) Servers(ctx context.Context, marker string, limit int) (Page[Server], error) {
	return returning(ctx, w, "Servers", func(ctx context.Context) (Page[Server], error) { return w.b.Servers(ctx, marker, limit) })
}

func (w wrapped) Images(ctx context.Context) ([]Image, error) {
	return returning(ctx, w, "Images", w.b.Images)
}

func (w wrapped) Volume(ctx context.Context, key Key) (Volume, error) {
	return returning(ctx, w, "Volume", func(ctx context.Context) (Volume, error) { return w.b.Volume(ctx, key) })
}

func (w wrapped) Snapshot(ctx context.Context, key Key) (Snapshot, error) {
	return returning(ctx, w, "Snapshot", func(ctx context.Context) (Snapshot, error) { return w.b.Snapshot(ctx, key) })
}

func (w wrapped) ChangedVolumes(ctx context.Context, since time.Time) ([]Volume, error) {
	return returning(ctx, w, "ChangedVolumes", func(ctx context.Context) ([]Volume, error) { return w.b.ChangedVolumes(ctx, since) })
}

func (w wrapped) Told(ctx context.Context, subject Subject, key Key, since time.Time) error {
	return w.around(ctx, "Told", func(ctx context.Context) error { return w.b.Told(ctx, subject, key, since) })
}

func (w wrapped) CreateVolume(ctx context.Context, spec VolumeSpec) (Volume, error) {
	return returning(ctx, w, "CreateVolume", func(ctx context.Context) (Volume, error) { return w.b.CreateVolume(ctx, spec) })
}

func (w wrapped) CreateSnapshot(ctx context.Context, spec SnapshotSpec) (Snapshot, error) {
	return returning(ctx, w, "CreateSnapshot", func(ctx context.Context) (Snapshot, error) { return w.b.CreateSnapshot(ctx, spec) })
}

func (w wrapped) RenameVolume(ctx context.Context, key Key, name, description string) error {
	return w.around(ctx, "RenameVolume", func(ctx context.Context) error { return w.b.RenameVolume(ctx, key, name, description) })
}

func (w wrapped) RenameSnapshot(ctx context.Context, key Key, name, description string) error {
	return w.around(ctx, "RenameSnapshot", func(ctx context.Context) error { return w.b.RenameSnapshot(ctx, key, name, description) })
}

func (w wrapped) ExtendVolume(ctx context.Context, key Key, sizeGiB int) error {
	return w.around(ctx, "ExtendVolume", func(ctx context.Context) error { return w.b.ExtendVolume(ctx, key, sizeGiB) })
}

func (w wrapped) DeleteVolume(ctx context.Context, key Key) error {
	return w.around(ctx, "DeleteVolume", func(ctx context.Context) error { return w.b.DeleteVolume(ctx, key) })
}

func (w wrapped) DeleteSnapshot(ctx context.Context, key Key) error {
	return w.around(ctx, "DeleteSnapshot", func(ctx context.Context) error { return w.b.DeleteSnapshot(ctx, key) })
}

func (w wrapped) RevertVolume(ctx context.Context, volume, snapshot Key) error {
	return w.around(ctx, "RevertVolume", func(ctx context.Context) error { return w.b.RevertVolume(ctx, volume, snapshot) })
}

func (w wrapped) AttachVolume(ctx context.Context, key Key, serverID string) error {
	return w.around(ctx, "AttachVolume", func(ctx context.Context) error { return w.b.AttachVolume(ctx, key, serverID) })
}

func (w wrapped) DetachVolume(ctx context.Context, key Key, serverID string, force bool) error {
	return w.around(ctx, "DetachVolume", func(ctx context.Context) error { return w.b.DetachVolume(ctx, key, serverID, force) })
}

func (w wrapped) RepairVolume(ctx context.Context, key Key, to Status) error {
	return w.around(ctx, "RepairVolume", func(ctx context.Context) error { return w.b.RepairVolume(ctx, key, to) })
}

func (w wrapped) RepairSnapshot(ctx context.Context, key Key, to Status) error {
	return w.around(ctx, "RepairSnapshot", func(ctx context.Context) error { return w.b.RepairSnapshot(ctx, key, to) })
}

type wrappedExporter struct {
	wrapped
	e Exporter
}

func (w wrappedExporter) Connections(ctx context.Context) ([]Connection, error) {
	return returning(ctx, w.wrapped, "Connections", w.e.Connections)
}

func (w wrappedExporter) Export(ctx context.Context, key Key) (Export, error) {
	return returning(ctx, w.wrapped, "Export", func(ctx context.Context) (Export, error) { return w.e.Export(ctx, key) })
}
