package local

import (
	"fmt"
	"math"
	"os"
	"syscall"

	"blockconsole/models/backend"
)

const gib = int64(1) << 30

// overheadBytes is what an object takes beside its data: folder, description, inodes.
const overheadBytes = 64 << 10

// space is the size of a file system and what is free of it, in bytes.
type space struct{ total, free int64 }

// allocated is how many bytes a file takes on the disk.
func allocated(fi os.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return fi.Size()
}

// reservedBytes is the part of a file system that copies leave free, so that the
// console's own database can still be written.
func (b *Backend) reservedBytes(sp space) int64 {
	if b.reserve > 0 {
		return b.reserve
	}
	return min(sp.total/100, 64<<20)
}

// checkSize refuses a size that the file system can never hold.
func (b *Backend) checkSize(sizeGiB int) error {
	if sizeGiB <= 0 {
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "at least 1 GiB"}
	}
	limit := b.maxFile
	if sp, err := b.disk.space(b.dir); err == nil {
		limit = min(limit, sp.total)
	}
	if int64(sizeGiB) > math.MaxInt64/gib || int64(sizeGiB)*gib > limit {
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: fmt.Sprintf("the file system holds at most %d GiB", limit/gib)}
	}
	return nil
}

// checkSpaceLocked refuses a copy of need bytes that does not fit beside what running
// copies still need.
func (b *Backend) checkSpaceLocked(need int64) error {
	sp, err := b.disk.space(b.dir)
	if err != nil {
		return nil // the copy finds out
	}
	if b.reflink {
		need = 0
	}
	need += overheadBytes
	free := sp.free - b.reservedBytes(sp)
	for j := range b.jobs {
		if !b.reflink {
			free -= max(0, j.bytesNeeded-j.bytesCopied.Load())
		}
	}
	if need > free {
		return &backend.Error{Code: backend.CodeNoSpace, Need: need, Free: max(0, free)}
	}
	return nil
}
