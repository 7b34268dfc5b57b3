//go:build !linux

package nbd

import "net"

func newSocket(nc net.Conn) net.Conn { return nc }

func growReceiveBuffer(net.Conn) {}
