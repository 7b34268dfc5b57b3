package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/blockcopy"
	"blockconsole/models/backend/local/checksum"
	"blockconsole/models/reserve"
)

// verifyRestored compares a new volume's file with the checksums of the snapshot that it
// was made from, and marks the snapshot by what it found. A snapshot without checksums is
// not verified. It reads the volume's file, not the snapshot's: these are the bytes that
// are handed over, also where the copy itself went wrong, and those that the server is
// going to read from the page cache. Errors: CodeDamaged with the snapshot's name,
// CodeFault where only the copy is wrong, those of the disk and of ctx.
func (b *Backend) verifyRestored(ctx context.Context, f *os.File, src source, j *job) error {
	if src.object == nil {
		return nil
	}
	m, _ := b.metaOf(src.object)
	if m.Kind != snapshots || m.Checks == nil {
		return nil
	}
	sums, err := b.openSums(m)
	if errors.Is(err, checksum.ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
		return b.restoreDamaged(src, m, &storedChecks{ComputedAt: m.Checks.ComputedAt, CheckedAt: b.now().UTC(), Broken: true})
	}
	if err != nil {
		return err
	}
	defer sums.close()
	found, err := b.compareRestored(ctx, sums, f, src, j)
	if err != nil {
		return err
	}
	now := b.checksOf(sums, found)
	if found.Bad > 0 {
		if err := b.copyWentWrong(ctx, sums, src, found); err != nil {
			return err
		}
		return b.restoreDamaged(src, m, now)
	}
	if err := b.storeChecks(src.object, m, now, nil); err != nil {
		b.log.Warn("that a snapshot was found whole is not remembered", "ref", m.Ref, "error", err)
	}
	return nil
}

// compareRestored reads the new volume's file as fast as it can, in a slot for copies.
func (b *Backend) compareRestored(ctx context.Context, sums openedSums, f *os.File, src source, j *job) (checksum.Result, error) {
	release, err := b.takeCopySlot(ctx)
	if err != nil {
		return checksum.Result{}, err
	}
	defer release()
	if fi, err := f.Stat(); err == nil {
		j.toCompare.Store(min(reserve.Allocated(fi), src.size))
	}
	j.copying.Store(true)
	data := checksum.Data{File: f, Size: src.size, NextData: blockcopy.NextData, After: func(_, n int64) error {
		j.compared.Add(n)
		return nil
	}}
	return sums.Compare(ctx, data, min(runtime.GOMAXPROCS(0), 4))
}

// copyWentWrong is CodeFault where the snapshot itself has the right bytes in the blocks
// that differ in its copy; nil: they differ in the snapshot.
func (b *Backend) copyWentWrong(ctx context.Context, sums openedSums, src source, found checksum.Result) error {
	in, err := b.disk.open(src.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	wrong, err := sums.Differ(ctx, checksum.Data{File: in, Size: src.size, NextData: blockcopy.NextData}, found.First)
	if err != nil || len(wrong) > 0 {
		return err
	}
	return &backend.Error{Code: backend.CodeFault, Op: "files", Cause: backend.DiskError, Path: b.dir,
		Err: errors.New("the copy of a whole snapshot has other bytes")}
}

// restoreDamaged marks the snapshot, and is the error of the restore.
func (b *Backend) restoreDamaged(src source, m meta, now *storedChecks) error {
	if err := b.storeChecks(src.object, m, now, nil); err != nil {
		b.log.Error("that a snapshot is damaged is not remembered", "ref", m.Ref, "error", err)
	}
	d := now.damage(b.objectDir(published, m), int64(m.SizeGiB)*gib)
	d.Of = m.Name
	return d
}
