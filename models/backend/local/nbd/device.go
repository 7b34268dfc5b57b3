// Package nbd serves block devices to other machines over the Network Block
// Device protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md):
// newstyle, fixed handshake, TLS with client certificates where it is configured.
// Names in this package are the document's.
//
// A [Server] accepts connections and asks its [Exports] which [Export] a peer may
// have. An Export is one volume: a [Device] and the connections that use it. One
// Export must be shared by all connections to a volume, because holding writes
// for a snapshot, counting clients and cutting them off work on it.
package nbd

import (
	"context"
	"io"
)

// Device is what an export reads and writes. All methods are called at once from
// many goroutines, never outside [0, Size) and never with a length of zero.
// Errors are those of the operating system: ENOSPC, EDQUOT, EFBIG, EPERM, EROFS
// and EACCES reach the client as such, errors.ErrUnsupported as ENOTSUP,
// everything else as EIO.
type Device interface {
	// Size is the number of bytes. It is asked once for each connection.
	Size() (int64, error)
	// ReadAt and WriteAt transfer all of p or return an error.
	io.ReaderAt
	io.WriterAt
	// Flush returns when every write that had returned before the call is on
	// stable storage. After a Flush has failed, what was written is in doubt and
	// later ones must fail as well.
	Flush(ctx context.Context) error
	// Trim says that n bytes at off are not needed any more.
	Trim(ctx context.Context, off, n int64) error
	// WriteZeroes makes n bytes at off read as zeroes.
	WriteZeroes(ctx context.Context, off, n int64, flags ZeroFlags) error
	// BlockStatus appends extents that describe the range from off on, in
	// order and without gaps, until n bytes are described or dst's capacity is
	// used up. It appends at least one and never describes more than n bytes.
	BlockStatus(ctx context.Context, off, n int64, dst []Extent) ([]Extent, error)
	// Cache says that n bytes at off will be read soon.
	Cache(ctx context.Context, off, n int64) error
}

// Prompt is a Device that knows when a transfer need not wait for the disk. Such
// transfers are done without handing the request to another goroutine.
type Prompt interface {
	Device
	// ReadNow reads what is in memory and returns how many bytes of p it
	// filled. Fewer than len(p) is no error: ReadAt is asked for the rest.
	ReadNow(p []byte, off int64) int
	// WriteNow tells whether WriteAt of n bytes at off should return without
	// waiting for the disk.
	WriteNow(off int64, n int) bool
	// HoleNow returns how many of the n bytes at off are known, at small cost,
	// to be one hole that begins at off.
	HoleNow(off, n int64) int64
}

// ZeroFlags say how WriteZeroes may work.
type ZeroFlags uint8

const (
	// NoHole wants the range to stay allocated.
	NoHole ZeroFlags = 1 << iota
	// FastZero wants errors.ErrUnsupported, and nothing changed, where writing
	// zeroes would take as long as writing data.
	FastZero
)

// Extent is a run of bytes in a device. A hole is not allocated and reads as
// zeroes.
type Extent struct {
	Length int64
	Hole   bool
}
