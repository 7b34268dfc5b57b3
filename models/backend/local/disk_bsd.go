//go:build darwin || freebsd

package local

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// The console runs on these systems for development: it copies files in user space,
// where zeroes become holes.

func (d disk) clone(dst, _ *os.File) error {
	if err := d.callHook(opClone, dst.Name()); err != nil {
		return err
	}
	return errors.ErrUnsupported
}

func (d disk) copyRange(dst, _ *os.File, _ int64, _ int) (int, error) {
	return 0, errors.ErrUnsupported
}

func (d disk) nextData(_ *os.File, off, size int64) (start, end int64, err error) {
	return off, size, nil
}

func (d disk) startWriteback(*os.File, int64, int64) {}

func (d disk) prefetch(*os.File, int64, int64) {}

func (d disk) forget(*os.File, int64, int64) {}

func (d disk) fdatasync(f *os.File) error { return d.sync(f) }

func (d disk) extents(*os.File) (int, error) { return 0, errors.ErrUnsupported }
