package local

import (
	"context"
	"os"

	"blockconsole/models/backend"
)

// ExtendVolume grows the file to sizeGiB. meta.json names the new size before the file
// has it, so that the next Open understands what a crash leaves. Errors: CodeNotFound,
// CodeInvalid, CodeConflict, CodeDamaged, CodeNoSpace, CodeUnavailable.
func (b *Backend) ExtendVolume(ctx context.Context, key backend.Key, sizeGiB int) error {
	o, unlock, err := b.lockObject(ctx, volumes, key)
	if err != nil {
		return err
	}
	defer unlock()
	m, _ := b.metaOf(o)
	switch {
	case m.SizeGiB == sizeGiB:
		return nil
	case sizeGiB < m.SizeGiB:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhyOnlyGrow, Message: "a volume can only grow"}
	case m.Status != backend.Available:
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyStatus, WhyArg: string(m.Status), Message: "the volume is " + string(m.Status)}
	}
	if err := b.dataDamage(o); err != nil { // growing a shortened file would hide it
		return err
	}
	if err := b.checkSize(sizeGiB); err != nil {
		return err
	}
	// Until the end is known, every meta.json that is written names the extension.
	b.setSize(o, m.SizeGiB, sizeGiB)
	m.ExtendingTo = sizeGiB
	if err := b.growFile(m, sizeGiB); err != nil {
		return b.portError(err, overheadBytes)
	}
	b.setSize(o, sizeGiB, 0)
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.export != nil {
		o.export.size.Store(int64(sizeGiB) * gib)
	}
	return nil
}

func (b *Backend) growFile(m meta, sizeGiB int) error {
	m = m.withFinalStatus()
	if err := b.replaceMeta(published, m); err != nil {
		return err
	}
	f, err := b.disk.open(b.objectDir(published, m)+"/"+dataFile, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := b.disk.truncate(f, int64(sizeGiB)*gib); err != nil {
		return err
	}
	if err := b.disk.sync(f); err != nil {
		return err
	}
	m.SizeGiB, m.ExtendingTo = sizeGiB, 0
	return b.replaceMeta(published, m)
}
