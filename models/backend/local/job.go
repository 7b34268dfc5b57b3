package local

import (
	"context"
	"errors"
	"os"
	"time"

	"blockconsole/models/backend"
)

// startLocked runs work in the background as o's job. work ends with endLocked.
func (b *Backend) startLocked(o *object, need int64, work func(context.Context, *job)) (*job, error) {
	if b.closed {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	j := &job{cancel: cancel, done: make(chan struct{}), need: need}
	if len(b.jobs) == 0 {
		b.idle = make(chan struct{})
	}
	b.jobs[j] = true
	o.job = j
	b.work.Add(1)
	go func() {
		defer b.work.Done()
		defer cancel()
		work(ctx, j)
	}()
	return j, nil
}

func (b *Backend) endLocked(o *object, j *job) {
	o.job = nil
	delete(b.jobs, j)
	if len(b.jobs) == 0 {
		close(b.idle)
	}
	close(j.done)
}

// linger waits a moment for a job that may be over in a moment.
func linger(ctx context.Context, j *job) {
	t := time.NewTimer(quick)
	defer t.Stop()
	select {
	case <-j.done:
	case <-t.C:
	case <-ctx.Done():
	}
}

// produce is the job of a creation, from the empty folder to the final state.
func (b *Backend) produce(ctx context.Context, o *object, j *job, src *source) {
	err := b.build(ctx, o, j, src)
	if err != nil {
		b.undo(o)
	}
	b.mu.Lock()
	if src != nil && src.object != nil {
		src.object.readLocked(o, false)
	}
	switch {
	case o.meta.Status == backend.Deleting: // cancelled by a delete call
		b.mu.Unlock()
		b.unmake(o, j)
		return
	case err == nil:
		b.set(o, backend.Available, nil)
	case b.ctx.Err() != nil: // closing: as if it had never been asked for
		b.dropLocked(o)
	default:
		b.log.Error("creation failed", "kind", o.meta.Kind, "ref", o.meta.Ref, "error", err)
		b.set(o, backend.ErrorStatus, b.failure(err, j.need+headroom))
		o.unfinished = true
		b.linkLocked(o, false)
	}
	b.endLocked(o, j)
	b.mu.Unlock()
}

func (b *Backend) dropLocked(o *object) {
	b.index(o.meta.Kind).drop(o.meta.Ref)
	b.linkLocked(o, false)
}

// build makes the object's folder in tmp/ and publishes it.
func (b *Backend) build(ctx context.Context, o *object, j *job, src *source) error {
	b.mu.Lock()
	m := o.meta
	b.mu.Unlock()
	if err := b.erase(o); err != nil { // what an earlier attempt left
		return err
	}
	dir := b.folder(nowhere, m)
	if err := b.disk.mkdir(dir); err != nil {
		return err
	}
	f, err := b.disk.create(dir + "/" + dataName)
	if err != nil {
		return err
	}
	defer f.Close()
	if src != nil {
		if err := b.fill(ctx, o, f, src, j); err != nil {
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

// fill gives o's file f the source's bytes: by sharing its blocks, else by a copy
// that waits for its turn.
func (b *Backend) fill(ctx context.Context, o *object, f *os.File, src *source, j *job) error {
	in, err := b.disk.open(src.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := b.share(ctx, f, in, src, o); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	j.active.Store(true)
	return b.disk.copyData(ctx, f, in, src.size, &j.copied)
}

// publish makes the folder durable, then visible, then its visibility durable.
// It holds the object's files so that a rename comes before or after, not
// between.
func (b *Backend) publish(ctx context.Context, o *object, f *os.File) error {
	o.files.Lock()
	defer o.files.Unlock()
	b.mu.Lock()
	m := b.stored(o.meta, backend.Available, nil)
	b.mu.Unlock()
	dir := b.folder(nowhere, m)
	mf, err := b.disk.putMeta(dir+"/"+metaName, m)
	if err != nil {
		return err
	}
	defer mf.Close()
	err = together(
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
	if err := b.disk.rename(dir, b.folder(home, m)); err != nil {
		return err
	}
	b.mu.Lock()
	o.place = home
	b.mu.Unlock()
	return b.syncDirs(string(m.Kind), "tmp")
}

// syncDirs makes renames between two of our folders durable.
func (b *Backend) syncDirs(to, from string) error {
	return together(
		func() error { return b.disk.syncDir(b.path(to)) },
		func() error { return b.disk.syncDir(b.path(from)) },
	)
}

// undo removes what a failed creation made. What cannot be removed now is
// removed by the next attempt or the next Open.
func (b *Backend) undo(o *object) {
	if err := b.erase(o); err != nil {
		b.log.Warn("partial files stay until the next start", "ref", o.meta.Ref, "error", err)
	}
}
