package local

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/blockcopy"
	"blockconsole/models/backend/local/nbd"
	"blockconsole/models/reserve"
)

const gib = int64(1) << 30

// overheadBytes is what an object takes beside its data: folder, description, inodes.
const overheadBytes = 64 << 10

// openReserve uses the reserve that was given, or makes one.
func (b *Backend) openReserve(o Options) (err error) {
	if b.space = o.Space; b.space == nil {
		if b.space, err = reserve.Open(reserve.Options{Dir: b.dir, Bytes: o.Reserve, Now: o.Now, Log: b.log}); err != nil {
			return err
		}
		b.watching.Go(func() { b.space.Run(b.ctx) })
	}
	b.disk.space = b.space
	return nil
}

// checkSize refuses a size that the file system can never hold.
func (b *Backend) checkSize(sizeGiB int) error {
	if sizeGiB <= 0 {
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhyTooSmall, Message: "at least 1 GiB"}
	}
	limit := min(b.maxFile, b.space.State().Total)
	if int64(sizeGiB) > math.MaxInt64/gib || int64(sizeGiB)*gib > limit {
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhyTooLarge, WhyArg: strconv.FormatInt(limit/gib, 10), Message: fmt.Sprintf("the file system holds at most %d GiB", limit/gib)}
	}
	return nil
}

// checkSpaceLocked refuses a copy of need bytes that does not fit beside what running
// copies still need.
func (b *Backend) checkSpaceLocked(need int64) error {
	if err := b.space.Renew(); err != nil {
		return nil // the copy finds out
	}
	s := b.space.State()
	if s.Short != "" {
		return b.refusedBy(s.Short, need+overheadBytes)
	}
	if b.reflink {
		need = 0
	}
	need += overheadBytes
	free := s.Margin
	for j := range b.jobs {
		if !b.reflink {
			free -= max(0, j.bytesNeeded-j.bytesCopied.Load())
		}
	}
	if need > free {
		return &backend.Error{Code: backend.CodeNoSpace, Need: need, Free: max(0, free), Path: b.dir}
	}
	return nil
}

// portError turns an error of the disk into one of the port's. need is how many bytes
// the work wanted to write; -1: not known.
func (b *Backend) portError(err error, need int64) error {
	if err == nil || backend.AsError(err) != nil {
		return err
	}
	var slow *blockcopy.TooSlowError
	if errors.As(err, &slow) {
		return &backend.Error{Code: backend.CodeSlow, Path: b.dir, Waited: slow.Waited, Most: slow.Limit, Err: err}
	}
	cause := b.causeOf(err)
	b.reportDiskError("files", cause)
	if cause == "" {
		return &backend.Error{Code: backend.CodeUnavailable, Err: err}
	}
	b.madeRoom(err)
	refused := b.refusedBy(cause, need)
	refused.Err = err
	return refused
}

// refusedBy is the port's error of a disk that refuses for this cause.
func (b *Backend) refusedBy(cause backend.Cause, need int64) *backend.Error {
	e := &backend.Error{Code: backend.CodeFault, Op: "files", Cause: cause, Path: b.dir}
	switch cause {
	case backend.NoBytes, backend.NoInodes, backend.OverQuota:
		e.Code, e.Need, e.Free = backend.CodeNoSpace, need, b.space.State().Margin
	case backend.FileTooLarge:
		e.Code, e.Field, e.Message = backend.CodeInvalid, "size_gib", "the file system cannot hold a file of that size"
	case backend.TooManyFiles:
		e.Code = backend.CodeUnavailable
	}
	return e
}

// causeOf is why the disk refused; empty for an error that is none of the disk. ENOSPC is
// for want of inodes where the figures say so.
func (b *Backend) causeOf(err error) backend.Cause {
	cause := backend.DiskCause(err)
	if cause == backend.NoBytes && b.space.Look() == nil {
		if s := b.space.State(); s.Usage.Short() == backend.NoInodes || s.Short == backend.NoInodes {
			return backend.NoInodes
		}
	}
	return cause
}

// madeRoom lets the reserve give room to a change that the console needs, and reports
// whether it may be tried again. What new data may not take is none of its business.
func (b *Backend) madeRoom(err error) bool {
	return err != nil && !errors.Is(err, nbd.ErrNoRoom) && b.space.Report(b.causeOf(err))
}

// withReserve runs a change of the console's own files, and once more when the reserve
// has made room for it.
func (b *Backend) withReserve(change func() error) error {
	err := change()
	if b.madeRoom(err) {
		return change()
	}
	return err
}

func (b *Backend) reportDiskError(op string, cause backend.Cause) {
	if b.onDiskError != nil {
		b.onDiskError(op, cause)
	}
}
