package local

import (
	"fmt"
	"math"
	"strconv"

	"blockconsole/models/backend"
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
