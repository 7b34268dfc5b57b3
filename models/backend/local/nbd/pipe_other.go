//go:build !linux

package nbd

import (
	"errors"
	"net"
)

// pipe does not exist on these systems.
type pipe struct{ buffered int }

func openPipe(net.Conn) *pipe { return nil }

func (p *pipe) fill(int) error { return errors.ErrUnsupported }

func (p *pipe) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (p *pipe) close() {}

func (d *FileDevice) writeFrom(*pipe, int64, int) error { return errors.ErrUnsupported }
