package nbd

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
)

// randomBytes returns the same n bytes each time.
func randomBytes(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(p)
	return p
}

func TestCommands(t *testing.T) {
	t.Parallel()
	for _, structured := range []bool{false, true} {
		m := newMemDevice(1 << 20)
		addr, _ := startServer(t, singleExport{NewExport("v", m, ExportOptions{})}, nil)
		c := dialExport(t, addr, "v", structured)
		data := randomBytes(100000)
		c.wantErrno(cmdWrite, 0, 1000, len(data), data, 0)
		if a := c.roundTrip(cmdRead, cmdFlagFUA, 1000, len(data), nil); a.errno != 0 || !bytes.Equal(a.data, data) {
			t.Fatal("what was written is not what is read")
		}
		c.wantErrno(cmdFlush, 0, 0, 0, nil, 0)
		c.wantErrno(cmdTrim, cmdFlagFUA, 4096, 4096, nil, 0)
		c.wantErrno(cmdCache, 0, 0, 1<<20, nil, 0)
		c.wantErrno(cmdWriteZeroes, cmdFlagNoHole, 8192, 4096, nil, 0)
		if m.flushes.Load() != 2 || m.trimmed.Load() != 4096 || m.cached.Load() != 1<<20 || m.zeroFlags.Load() != int64(NoHole) {
			t.Error(m.flushes.Load(), m.trimmed.Load(), m.cached.Load(), m.zeroFlags.Load())
		}
		m.noFastZero.Store(true)
		c.wantErrno(cmdWriteZeroes, cmdFlagFastZero, 0, 4096, nil, eNotSup)
		for _, kind := range []uint16{cmdRead, cmdWrite, cmdTrim, cmdWriteZeroes, cmdCache} {
			c.wantErrno(kind, 0, 77, 0, nil, 0)
		}
	}
}

func TestCommands_Invalid(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	exports := exportMap{
		"rw": NewExport("rw", newMemDevice(size), ExportOptions{}),
		"ro": NewExport("ro", newMemDevice(size), ExportOptions{ReadOnly: true}),
	}
	addr, _ := startServer(t, exports, nil)
	block := make([]byte, 512)
	for _, structured := range []bool{false, true} {
		rw := dialExport(t, addr, "rw", structured)
		for _, x := range []struct {
			kind, flags uint16
			off         uint64
			length      int
			payload     []byte
			errno       uint32
		}{
			{cmdRead, 0, size, 1, nil, eInval},
			{cmdRead, 0, size - 511, 512, nil, eInval},
			{cmdRead, 0, 1<<64 - 1, 512, nil, eInval},
			{cmdRead, 0, 1 << 63, 1, nil, eInval},
			{cmdRead, 0, 0, MaxRequest + 1, nil, eInval},
			{cmdRead, 0, 0, 1<<32 - 1, nil, eInval},
			{cmdRead, cmdFlagNoHole, 0, 512, nil, eInval},
			{cmdWrite, 0, size - 511, 512, block, eNoSpc},
			{cmdWrite, 0, 1<<64 - 512, 512, block, eNoSpc},
			{cmdWrite, 1 << 15, 0, 512, block, eInval},
			{cmdWrite, cmdFlagDF, 0, 512, block, eInval},
			{cmdWriteZeroes, 0, size, 1, nil, eNoSpc},
			{cmdWriteZeroes, cmdFlagReqOne, 0, 1, nil, eInval},
			{cmdTrim, 0, size, 1, nil, eInval},
			{cmdTrim, 0, 0, 1<<32 - 1, nil, eInval},
			{cmdCache, 0, size, 1, nil, eInval},
			{cmdFlush, 0, 1, 0, nil, eInval},
			{cmdFlush, 0, 0, 1, nil, eInval},
			{cmdBlockStatus, 0, size, 1, nil, eInval},
			{cmdBlockStatus, 0, 0, 0, nil, eInval},
			{8, 0, 0, 512, nil, eInval},
			{65535, 0, 0, 512, nil, eInval},
		} {
			rw.wantErrno(x.kind, x.flags, x.off, x.length, x.payload, x.errno)
		}
		ro := dialExport(t, addr, "ro", structured)
		ro.wantErrno(cmdWrite, 0, 0, 512, block, ePerm)
		ro.wantErrno(cmdTrim, 0, 0, 512, nil, ePerm)
		ro.wantErrno(cmdWriteZeroes, 0, 0, 512, nil, ePerm)
		ro.wantErrno(cmdFlush, 0, 0, 0, nil, 0)
		ro.wantErrno(cmdRead, 0, 0, 512, nil, 0)
	}
	dialExport(t, addr, "rw", false).wantErrno(cmdBlockStatus, 0, 0, 512, nil, eInval)
	dialExport(t, addr, "rw", false).wantErrno(cmdRead, cmdFlagDF, 0, 512, nil, eInval)
}

func TestCommands_BlockStatus(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	copy(m.b[8192:], randomBytes(4096))
	addr, _ := startServer(t, singleExport{NewExport("v", m, ExportOptions{})}, nil)
	c := dialExport(t, addr, "v", true)
	hole := uint32(stateHole | stateZero)
	for _, x := range []struct {
		flags  uint16
		off    uint64
		length int
		want   []uint32
	}{
		{0, 0, 1 << 20, []uint32{8192, hole, 4096, 0, 1<<20 - 12288, hole}},
		{cmdFlagReqOne, 0, 1 << 20, []uint32{8192, hole}},
		{cmdFlagReqOne, 9000, 100, []uint32{100, 0}},
		{0, 8000, 400, []uint32{192, hole, 208, 0}},
	} {
		if a := c.roundTrip(cmdBlockStatus, x.flags, x.off, x.length, nil); !slices.Equal(a.status, x.want) {
			t.Errorf("%+v: %v", x, a.status)
		}
	}
}

// Replies come in the order in which the device finishes.
func TestCommands_Concurrent(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	hook, entered, release := blockingHook()
	m.onRead = hook
	addr, _ := startServer(t, singleExport{NewExport("v", m, ExportOptions{})}, nil)
	c := dialExport(t, addr, "v", true)
	waiting := map[uint64]bool{}
	for i := range 100 {
		waiting[c.send(cmdRead, 0, uint64(i*4096), 4096, nil)] = true
	}
	for range 100 {
		<-entered
	}
	c.wantErrno(cmdFlush, 0, 0, 0, nil, 0) // overtakes all of them
	close(release)
	for range 100 {
		a := c.receive()
		if a.errno != 0 || !waiting[a.cookie] || len(a.data) != 4096 {
			t.Fatalf("%+v", a)
		}
		delete(waiting, a.cookie)
	}
}

// The device's errors reach the client and OnError, and the connection goes on.
func TestCommands_DeviceErrors(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		err  error
		wire uint32
	}{
		{syscall.EIO, eIO}, {syscall.ENOSPC, eNoSpc}, {syscall.EDQUOT, eNoSpc}, {syscall.EFBIG, eNoSpc},
		{syscall.EROFS, eIO}, {syscall.EACCES, eIO}, {syscall.EPERM, ePerm}, {syscall.EINVAL, eIO}, {errors.New("odd"), eIO},
	} {
		for _, structured := range []bool{false, true} {
			m := newMemDevice(1 << 20)
			fail := func() error { return x.err }
			var writes, reported atomic.Int64
			m.onRead, m.onFlush = fail, fail
			m.onWrite = func() error {
				if writes.Add(1) == 1 {
					return x.err
				}
				return nil
			}
			e := NewExport("v", m, ExportOptions{OnError: func(_ string, err error) {
				if errors.Is(err, x.err) {
					reported.Add(1)
				}
			}})
			addr, _ := startServer(t, singleExport{e}, nil)
			c := dialExport(t, addr, "v", structured)
			c.wantErrno(cmdRead, 0, 0, 4096, nil, x.wire)
			c.wantErrno(cmdRead, 0, 0, 1<<18, nil, x.wire)
			c.wantErrno(cmdWrite, 0, 0, 4096, make([]byte, 4096), x.wire)
			c.wantErrno(cmdFlush, 0, 0, 0, nil, x.wire)
			c.wantErrno(cmdWrite, cmdFlagFUA, 0, 4096, make([]byte, 4096), x.wire)
			if reported.Load() != 5 {
				t.Errorf("%v: reported %d times", x.err, reported.Load())
			}
		}
	}
}
