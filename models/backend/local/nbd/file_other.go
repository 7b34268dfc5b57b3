//go:build !linux

package nbd

import (
	"errors"
	"os"
)

// On these systems the console runs for development: there are no holes.

func fdatasync(f *os.File) error { return f.Sync() }

func punchHole(*os.File, int64, int64) error { return errors.ErrUnsupported }

func zeroRange(*os.File, int64, int64) error { return errors.ErrUnsupported }

func nextData(_ *os.File, off, end int64) (start, stop int64, err error) { return off, end, nil }

// allocatedAlone is not known.
func allocatedAlone(*os.File, int64, int64) bool { return false }

func (d *FileDevice) cache(int64, int64) error { return nil }

// ReadNowait returns zero: it cannot tell what is in memory.
func (d *FileDevice) ReadNowait([]byte, int64) int { return 0 }

// LeadingHole returns zero.
func (d *FileDevice) LeadingHole(int64, int64) int64 { return 0 }
