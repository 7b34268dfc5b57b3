//go:build darwin || freebsd

package blockcopy

import (
	"errors"
	"os"
)

// The console runs on these systems for development: it copies files in user space,
// where zeroes become holes.

func copyRange(*os.File, *os.File, int64, int) (int, error) { return 0, errors.ErrUnsupported }

func NextData(_ *os.File, off, size int64) (start, end int64, err error) {
	return off, size, nil
}

func startWriteback(*os.File, int64, int64) {}

func prefetch(*os.File, int64, int64) {}

// IsUnsupported reports whether the system refuses a call, so that read and write must do.
func IsUnsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
