// Package checksum notices that bytes which nobody wrote have changed: it keeps the
// SHA-256 of each block of a file that stays as it is, and later finds the blocks that
// differ.
//
// A checksum file has three parts:
//
//	one line of JSON          a [Header]: format, algorithm, bytes of a block and of the file, whose file it is, when
//	32 bytes for each block   SHA-256 of its bytes; 32 zero bytes for a block of zeroes, whether written or a hole
//	32 bytes                  SHA-256 of all before
//
// The last block may be shorter. The sum of a block can be had by hand: dd bs=4M skip=N
// count=1 | sha256sum. A tebibyte takes 8 MiB of checksums. SHA-256 is in the standard
// library, has instructions of its own in today's processors, and so is faster than most
// disks; it is not only a checksum, so that nobody needs to think about chance.
//
// Memory does not grow with the file: a worker has one buffer, and sums are read and
// written one after the other.
package checksum

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"
)

// BlockBytes is the length of a block.
const BlockBytes = 4 << 20

const (
	format        = 1
	algorithm     = "sha256"
	pieceBytes    = 256 << 10 // read and hashed at a time
	maxHeaderLine = 4096      // bytes
)

// Header says what a checksum file is about.
type Header struct {
	Format     int       `json:"format"`
	Algorithm  string    `json:"algorithm"`
	BlockBytes int64     `json:"block_bytes"`
	Size       int64     `json:"size"` // bytes of the file
	Of         string    `json:"of"`   // whose file it is
	ComputedAt time.Time `json:"computed_at"`
}

// ErrDamaged says that a checksum file was changed, or is about another file.
var ErrDamaged = errors.New("the checksum file is damaged, or belongs to another file")

// sum is the SHA-256 of a block; the zero sum is that of zeroes.
type sum [sha256.Size]byte

// Data is the file whose blocks are read.
type Data struct {
	File *os.File
	Size int64 // bytes of it that count
	// NextData finds the first run of data at or after off. io.EOF: only a hole is left.
	NextData func(f *os.File, off, size int64) (start, end int64, err error)
	// Before and After are called around each block that is not a hole; After also, with zero bytes, where many holes
	// were skipped. Their error ends the work. They may be nil.
	Before, After func(off, n int64) error
}

// Write reads the blocks of d and writes their checksum file to w. Its error is that of
// ctx, of d or of w.
func Write(ctx context.Context, w io.Writer, d Data, of string, now time.Time) error {
	line, err := json.Marshal(Header{Format: format, Algorithm: algorithm, BlockBytes: BlockBytes, Size: d.Size, Of: of, ComputedAt: now.UTC()})
	if err != nil {
		return err
	}
	digest := sha256.New()
	buffered := bufio.NewWriterSize(w, 64<<10)
	out := io.MultiWriter(buffered, digest)
	if _, err := out.Write(append(line, '\n')); err != nil {
		return err
	}
	r := newReader(d)
	for off := int64(0); off < d.Size; off += BlockBytes {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := r.block(off)
		if err != nil {
			return err
		}
		if _, err := out.Write(s[:]); err != nil {
			return err
		}
	}
	if _, err := buffered.Write(digest.Sum(nil)); err != nil {
		return err
	}
	return buffered.Flush()
}

// Sums are the checksums in a file, which the caller closes.
type Sums struct {
	Header
	in    *os.File
	first int64 // offset of the first sum
}

// Open checks the whole checksum file before anything is compared with it. Errors:
// ErrDamaged, also where it is not about the file of and its size; those of reading it.
func Open(in *os.File, of string, size int64) (*Sums, error) {
	s := &Sums{in: in}
	fi, err := in.Stat()
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(io.NewSectionReader(in, 0, maxHeaderLine)).ReadBytes('\n')
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: no header", ErrDamaged)
	case err != nil:
		return nil, err
	}
	s.first = int64(len(line))
	switch err := json.Unmarshal(line, &s.Header); {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	case s.Format != format || s.Algorithm != algorithm || s.BlockBytes != BlockBytes || s.Of != of || s.Size != size:
		return nil, fmt.Errorf("%w: of %s, %d bytes, %s in blocks of %d", ErrDamaged, s.Of, s.Size, s.Algorithm, s.BlockBytes)
	case fi.Size() != s.first+(s.blocks()+1)*sha256.Size:
		return nil, fmt.Errorf("%w: it has %d bytes", ErrDamaged, fi.Size())
	}
	end := s.first + s.blocks()*sha256.Size
	digest := sha256.New()
	if _, err := io.Copy(digest, io.NewSectionReader(in, 0, end)); err != nil {
		return nil, err
	}
	var want sum
	if _, err := in.ReadAt(want[:], end); err != nil {
		return nil, err
	}
	if !bytes.Equal(digest.Sum(nil), want[:]) {
		return nil, fmt.Errorf("%w: its own sum differs", ErrDamaged)
	}
	return s, nil
}

func (s *Sums) blocks() int64 { return (s.Size + BlockBytes - 1) / BlockBytes }

func (s *Sums) at(block int64) (want sum, err error) {
	_, err = s.in.ReadAt(want[:], s.first+block*sha256.Size)
	return want, err
}

// reader computes the sums of blocks in ascending order.
type reader struct {
	Data
	hash      hash.Hash
	buf       []byte
	holeUntil int64 // there is only a hole before it …
	dataUntil int64 // … and then data up to here
	idle      int   // holes since After was called
}

func newReader(d Data) *reader {
	return &reader{Data: d, hash: sha256.New(), buf: make([]byte, pieceBytes)}
}

// idleHoles is how many holes are skipped between two calls of After.
const idleHoles = 4096

// block computes the sum of the block at off.
func (r *reader) block(off int64) (s sum, err error) {
	end := min(off+BlockBytes, r.Size)
	hole, err := r.isHole(off, end)
	if err != nil {
		return s, err
	}
	if hole {
		if r.idle++; r.idle < idleHoles {
			return s, nil
		}
		r.idle = 0
		return s, call(r.After, off, 0)
	}
	if err := call(r.Before, off, end-off); err != nil {
		return s, err
	}
	r.hash.Reset()
	zeroes := true
	for at := off; at < end; {
		piece, err := r.piece(at, end)
		if err != nil {
			return s, err
		}
		zeroes = zeroes && bytes.Equal(piece, allZero[:len(piece)])
		r.hash.Write(piece)
		at += int64(len(piece))
	}
	if !zeroes {
		r.hash.Sum(s[:0])
	}
	return s, call(r.After, off, end-off)
}

var allZero [pieceBytes]byte

// piece is the bytes at off, at least one and none after end. Those of a hole are not
// read.
func (r *reader) piece(off, end int64) ([]byte, error) {
	hole, err := r.isHole(off, off+1)
	if err != nil {
		return nil, err
	}
	if hole {
		return allZero[:min(end-off, r.holeUntil-off, pieceBytes)], nil
	}
	n, err := r.File.ReadAt(r.buf[:min(end-off, r.dataUntil-off, pieceBytes)], off)
	if n == 0 && errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return r.buf[:n], err
}

// isHole reports whether nothing is stored between off and end.
func (r *reader) isHole(off, end int64) (bool, error) {
	if end <= r.holeUntil {
		return true, nil
	}
	if off < r.dataUntil {
		return false, nil
	}
	start, dataEnd, err := r.NextData(r.File, off, r.Size)
	if errors.Is(err, io.EOF) {
		start, dataEnd, err = r.Size, r.Size, nil
	}
	if err != nil {
		return false, err
	}
	r.dataUntil = dataEnd
	if start > off {
		r.holeUntil = start
	}
	return end <= start, nil
}

func call(f func(off, n int64) error, off, n int64) error {
	if f == nil {
		return nil
	}
	return f(off, n)
}
