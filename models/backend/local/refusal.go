package local

import (
	"errors"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/blockcopy"
	"blockconsole/models/backend/local/nbd"
)

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
