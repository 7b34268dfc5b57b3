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

func noise(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func TestCommands(t *testing.T) {
	for _, structured := range []bool{false, true} {
		m := newMemory(1 << 20)
		addr, _ := start(t, one{NewExport("v", m, ExportOptions{})}, nil)
		c := enter(t, addr, "v", structured)
		data := noise(100000)
		c.want(cmdWrite, 0, 1000, len(data), data, 0)
		if a := c.ask(cmdRead, cmdFlagFUA, 1000, len(data), nil); a.errno != 0 || !bytes.Equal(a.data, data) {
			t.Fatal("what was written is not what is read")
		}
		c.want(cmdFlush, 0, 0, 0, nil, 0)
		c.want(cmdTrim, cmdFlagFUA, 4096, 4096, nil, 0)
		c.want(cmdCache, 0, 0, 1<<20, nil, 0)
		c.want(cmdWriteZeroes, cmdFlagNoHole, 8192, 4096, nil, 0)
		if m.flushes.Load() != 2 || m.trimmed.Load() != 4096 || m.cached.Load() != 1<<20 || m.zeroFlags.Load() != int64(NoHole) {
			t.Error(m.flushes.Load(), m.trimmed.Load(), m.cached.Load(), m.zeroFlags.Load())
		}
		m.noFastZero.Store(true)
		c.want(cmdWriteZeroes, cmdFlagFastZero, 0, 4096, nil, eNotSup)
		for _, kind := range []uint16{cmdRead, cmdWrite, cmdTrim, cmdWriteZeroes, cmdCache} {
			c.want(kind, 0, 77, 0, nil, 0)
		}
	}
}

func TestBadRequestsAreAnswered(t *testing.T) {
	const size = 1 << 20
	exports := several{
		"rw": NewExport("rw", newMemory(size), ExportOptions{}),
		"ro": NewExport("ro", newMemory(size), ExportOptions{ReadOnly: true}),
	}
	addr, _ := start(t, exports, nil)
	block := make([]byte, 512)
	for _, structured := range []bool{false, true} {
		rw := enter(t, addr, "rw", structured)
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
			rw.want(x.kind, x.flags, x.off, x.length, x.payload, x.errno)
		}
		ro := enter(t, addr, "ro", structured)
		ro.want(cmdWrite, 0, 0, 512, block, ePerm)
		ro.want(cmdTrim, 0, 0, 512, nil, ePerm)
		ro.want(cmdWriteZeroes, 0, 0, 512, nil, ePerm)
		ro.want(cmdFlush, 0, 0, 0, nil, 0)
		ro.want(cmdRead, 0, 0, 512, nil, 0)
	}
	enter(t, addr, "rw", false).want(cmdBlockStatus, 0, 0, 512, nil, eInval)
	enter(t, addr, "rw", false).want(cmdRead, cmdFlagDF, 0, 512, nil, eInval)
}

func TestBlockStatus(t *testing.T) {
	m := newMemory(1 << 20)
	copy(m.b[8192:], noise(4096))
	addr, _ := start(t, one{NewExport("v", m, ExportOptions{})}, nil)
	c := enter(t, addr, "v", true)
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
		if a := c.ask(cmdBlockStatus, x.flags, x.off, x.length, nil); !slices.Equal(a.status, x.want) {
			t.Errorf("%+v: %v", x, a.status)
		}
	}
}

// Many requests are under way at once, and replies come in the order in which the
// device is done.
func TestManyInFlight(t *testing.T) {
	m := newMemory(1 << 20)
	inside, release := make(chan struct{}), make(chan struct{})
	m.onRead = func() error {
		inside <- struct{}{}
		<-release
		return nil
	}
	addr, _ := start(t, one{NewExport("v", m, ExportOptions{})}, nil)
	c := enter(t, addr, "v", true)
	waiting := map[uint64]bool{}
	for i := range 100 {
		waiting[c.send(cmdRead, 0, uint64(i*4096), 4096, nil)] = true
	}
	for range 100 {
		<-inside
	}
	c.want(cmdFlush, 0, 0, 0, nil, 0) // overtakes all of them
	close(release)
	for range 100 {
		a := c.receive()
		if a.errno != 0 || !waiting[a.cookie] || len(a.data) != 4096 {
			t.Fatalf("%+v", a)
		}
		delete(waiting, a.cookie)
	}
}

// The disk's errors arrive as what they are, at the client and at the callback,
// and the connection lives on.
func TestDiskErrors(t *testing.T) {
	for _, x := range []struct {
		err  error
		wire uint32
	}{
		{syscall.EIO, eIO}, {syscall.ENOSPC, eNoSpc}, {syscall.EDQUOT, eNoSpc}, {syscall.EFBIG, eNoSpc},
		{syscall.EROFS, ePerm}, {syscall.EPERM, ePerm}, {syscall.EINVAL, eIO}, {errors.New("odd"), eIO},
	} {
		for _, structured := range []bool{false, true} {
			m := newMemory(1 << 20)
			fail := func() error { return x.err }
			var writes, told atomic.Int64
			m.onRead, m.onFlush = fail, fail
			m.onWrite = func() error {
				if writes.Add(1) == 1 {
					return x.err
				}
				return nil
			}
			e := NewExport("v", m, ExportOptions{OnError: func(_ string, err error) {
				if errors.Is(err, x.err) {
					told.Add(1)
				}
			}})
			addr, _ := start(t, one{e}, nil)
			c := enter(t, addr, "v", structured)
			c.want(cmdRead, 0, 0, 4096, nil, x.wire)
			c.want(cmdRead, 0, 0, 1<<18, nil, x.wire)
			c.want(cmdWrite, 0, 0, 4096, make([]byte, 4096), x.wire)
			c.want(cmdFlush, 0, 0, 0, nil, x.wire)
			c.want(cmdWrite, cmdFlagFUA, 0, 4096, make([]byte, 4096), x.wire)
			if told.Load() != 5 {
				t.Errorf("%v: told %d times", x.err, told.Load())
			}
		}
	}
}
