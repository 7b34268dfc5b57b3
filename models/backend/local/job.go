package local

import (
	"context"
	"errors"
	"os"
	"time"

	"blockconsole/models/backend"
)

// startJobLocked runs work in the background as o's job. work ends with endJobLocked.
func (b *Backend) startJobLocked(o *object, need int64, work func(context.Context, *job)) (*job, error) {
	if b.closed {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	j := &job{cancel: cancel, done: make(chan struct{}), bytesNeeded: need}
	if len(b.jobs) == 0 {
		b.idle = make(chan struct{})
	}
	b.jobs[j] = true
	o.job = j
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		defer cancel()
		work(ctx, j)
	}()
	return j, nil
}

func (b *Backend) endJobLocked(o *object, j *job) {
	o.job = nil
	delete(b.jobs, j)
	if len(b.jobs) == 0 {
		close(b.idle)
	}
	close(j.done)
}

// waitBriefly waits a moment for a job that may be over in a moment.
func waitBriefly(ctx context.Context, j *job) {
	t := time.NewTimer(briefWait)
	defer t.Stop()
	select {
	case <-j.done:
	case <-t.C:
	case <-ctx.Done():
	}
}

// runCreate is the job of a creation, from the empty folder to the final state.
func (b *Backend) runCreate(ctx context.Context, o *object, j *job, src *source) {
	err := b.buildObject(ctx, o, j, src)
	if err != nil {
		b.removePartial(o)
	}
	b.mu.Lock()
	if src != nil && src.object != nil {
		src.object.setCopyTargetLocked(o, false)
	}
	switch {
	case o.meta.Status == backend.Deleting: // cancelled by a delete call
		b.mu.Unlock()
		b.runDelete(o, j)
		return
	case err == nil:
		b.setStatusLocked(o, backend.Available, nil)
	case b.ctx.Err() != nil: // closing: as if it had never been asked for
		b.forgetLocked(o)
	default:
		b.log.Error("creation failed", "kind", o.meta.Kind, "ref", o.meta.Ref, "error", err)
		b.setStatusLocked(o, backend.ErrorStatus, b.portError(err, j.bytesNeeded+overheadBytes))
		o.createFailed = true
		b.setChildLocked(o, false)
	}
	b.endJobLocked(o, j)
	b.mu.Unlock()
}

func (b *Backend) forgetLocked(o *object) {
	b.indexOf(o.meta.Kind).remove(o.meta.Ref)
	b.setChildLocked(o, false)
}

// buildObject makes the object's folder in tmp/ and publishes it.
func (b *Backend) buildObject(ctx context.Context, o *object, j *job, src *source) error {
	b.mu.Lock()
	m := o.meta
	b.mu.Unlock()
	if err := b.removeFiles(o); err != nil { // what an earlier attempt left
		return err
	}
	dir := b.objectDir(unpublished, m)
	if err := b.disk.mkdir(dir); err != nil {
		return err
	}
	f, err := b.disk.create(dir + "/" + dataFile)
	if err != nil {
		return err
	}
	defer f.Close()
	if src != nil {
		if err := b.copySource(ctx, o, f, src, j); err != nil {
			return err
		}
	}
	if err := b.disk.truncate(f, int64(m.SizeGiB)*gib); err != nil {
		return err
	}
	if m.Kind == snapshots {
		if err := b.disk.readOnly(f); err != nil {
			return err
		}
	}
	return b.publish(ctx, o, f)
}

// copySource gives o's file f the source's bytes: by sharing its blocks, else by a copy
// that waits for its turn.
func (b *Backend) copySource(ctx context.Context, o *object, f *os.File, src *source, j *job) error {
	in, err := b.disk.open(src.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := b.cloneSource(ctx, f, in, src, o); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	select {
	case b.copySlots <- struct{}{}:
		defer func() { <-b.copySlots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	j.copying.Store(true)
	return b.disk.copyData(ctx, f, in, src.size, &j.bytesCopied)
}

// publish makes the folder durable, then visible, then its visibility durable.
// It holds the object's files so that a rename comes before or after, not
// between.
func (b *Backend) publish(ctx context.Context, o *object, f *os.File) error {
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	b.mu.Lock()
	m := b.withStatus(o.meta, backend.Available, nil)
	b.mu.Unlock()
	dir := b.objectDir(unpublished, m)
	mf, err := b.disk.createMeta(dir+"/"+metaFile, m)
	if err != nil {
		return err
	}
	defer mf.Close()
	err = parallel(
		func() error { return b.disk.sync(f) },
		func() error { return b.disk.sync(mf) },
		func() error { return b.disk.syncDir(dir) },
	)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	if err := b.disk.rename(dir, b.objectDir(published, m)); err != nil {
		return err
	}
	b.mu.Lock()
	o.location = published
	b.mu.Unlock()
	return b.syncDirs(string(m.Kind), "tmp")
}

// syncDirs makes renames between two of our folders durable.
func (b *Backend) syncDirs(to, from string) error {
	return parallel(
		func() error { return b.disk.syncDir(b.path(to)) },
		func() error { return b.disk.syncDir(b.path(from)) },
	)
}

// removePartial removes what a failed creation made. What cannot be removed now is
// removed by the next attempt or the next Open.
func (b *Backend) removePartial(o *object) {
	if err := b.removeFiles(o); err != nil {
		b.log.Warn("partial files stay until the next start", "ref", o.meta.Ref, "error", err)
	}
}
