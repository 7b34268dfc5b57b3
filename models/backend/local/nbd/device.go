// Package nbd serves block devices to other machines over the Network Block
// Device protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md):
// fixed newstyle handshake, TLS with client certificates where it is configured.
// Names in this package are those of that document.
//
// A [Server] accepts connections and asks its [Exports] which [Export] a peer may
// use. An Export is a [Device] and the connections that use it. All connections to
// a volume must share one Export: quiescing writes, counting clients and
// disconnecting them work on it.
package nbd

import (
	"context"
	"io"
)

// Device is the block device behind an export. Its methods are called by many
// goroutines at once, with offsets and lengths in bytes, never outside [0, Size) and
// never with a length of zero. They return the errors of the system: ENOSPC, EDQUOT
// and EFBIG reach the client as NBD_ENOSPC, EPERM as NBD_EPERM, errors.ErrUnsupported as
// NBD_ENOTSUP, every other error as NBD_EIO: also those of a file system that has become
// read-only, which is no property of the export.
type Device interface {
	// Size is in bytes. It is called once for each connection.
	Size() (int64, error)
	// ReadAt and WriteAt transfer all of p or return an error.
	io.ReaderAt
	io.WriterAt
	// Flush returns when every write that returned before the call is on stable
	// storage. After one failure every later Flush must fail, since data may be lost.
	Flush(ctx context.Context) error
	// Trim may discard n bytes at off.
	Trim(ctx context.Context, off, n int64) error
	// WriteZeroes makes n bytes at off read as zeroes.
	WriteZeroes(ctx context.Context, off, n int64, flags ZeroFlags) error
	// BlockStatus appends the extents from off on to dst, without gaps, until they
	// cover n bytes or dst is full. It appends at least one and covers at most n.
	BlockStatus(ctx context.Context, off, n int64, dst []Extent) ([]Extent, error)
	// Cache prepares n bytes at off for being read soon.
	Cache(ctx context.Context, off, n int64) error
}

// NowaitDevice is a Device that can tell which transfers do not wait for the disk.
// The goroutine that reads requests does those itself.
type NowaitDevice interface {
	Device
	// ReadNowait reads from memory only and returns how many bytes of p it filled.
	// ReadAt reads the rest.
	ReadNowait(p []byte, off int64) int
	// CanWriteNowait reports whether WriteAt of n bytes at off should return without
	// waiting for the disk.
	CanWriteNowait(off int64, n int) bool
	// LeadingHole returns how many of the n bytes at off are one hole that begins
	// there, or less where that would be slow to find out.
	LeadingHole(off, n int64) int64
}

// ZeroFlags restrict how WriteZeroes works.
type ZeroFlags uint8

const (
	// NoHole keeps the range allocated.
	NoHole ZeroFlags = 1 << iota
	// FastZero makes WriteZeroes return errors.ErrUnsupported and change nothing
	// where it would take as long as writing data.
	FastZero
)

// Extent is a run of Length bytes. A hole is not allocated and reads as zeroes.
type Extent struct {
	Length int64
	Hole   bool
}
