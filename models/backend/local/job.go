package local

import (
	"context"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
)

// briefWait is how long a call waits for its job. Most take milliseconds (an empty
// volume, a reflink, a rename into the trash), and the caller then sees the result at
// once. Longer ones go on without the caller.
const briefWait = 50 * time.Millisecond

// job is a creation, deletion or detachment under way.
type job struct {
	cancel      func()
	done        chan struct{}
	bytesNeeded int64        // that a copy may write
	bytesCopied atomic.Int64 // of bytesNeeded
	copying     atomic.Bool  // the copy has its slot, so there is a percentage
}

// startJobLocked runs work in the background as o's job; work must end with
// endJobLocked. Its error is CodeUnavailable after Close.
func (b *Backend) startJobLocked(o *object, bytesNeeded int64, work func(context.Context, *job)) (*job, error) {
	if b.closed {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	j := &job{cancel: cancel, done: make(chan struct{}), bytesNeeded: bytesNeeded}
	b.jobs[j] = true
	o.job = j
	b.wg.Go(func() {
		defer cancel()
		work(ctx, j)
	})
	return j, nil
}

func (b *Backend) endJobLocked(o *object, j *job) {
	o.job = nil
	delete(b.jobs, j)
	close(j.done)
}

// waitBriefly waits at most briefWait for a job.
func waitBriefly(ctx context.Context, j *job) {
	ctx, cancel := context.WithTimeout(ctx, briefWait)
	defer cancel()
	select {
	case <-j.done:
	case <-ctx.Done():
	}
}
