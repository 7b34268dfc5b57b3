//go:build darwin || freebsd

package local

import (
	"errors"
	"os"
)

// The console runs on these systems for development.

func (d disk) clone(dst, _ *os.File) error {
	if err := d.callHook(opClone, dst.Name()); err != nil {
		return err
	}
	return errors.ErrUnsupported
}

func (d disk) fdatasync(f *os.File) error { return d.sync(f) }

func (d disk) extents(*os.File) (int, error) { return 0, errors.ErrUnsupported }
