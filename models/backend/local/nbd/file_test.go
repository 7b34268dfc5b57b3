//go:build linux

package nbd

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
)

// A file system that can neither punch nor zero gets zeroes written, and FAST_ZERO is
// refused without a change.
func TestFileDeviceWriteZeroes_NoFallocate(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 4<<20)
	asked := map[string]int{}
	d.Hook = func(op string) error {
		asked[op]++
		if op == "punch" || op == "zero" {
			return syscall.EOPNOTSUPP
		}
		return nil
	}
	ctx, data, got := context.Background(), randomBytes(3<<20), make([]byte, 3<<20)
	if _, err := d.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteZeroes(ctx, 100, 2<<20, FastZero); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("FAST_ZERO:", err)
	}
	if err := d.Trim(ctx, 0, 1<<20); err != nil {
		t.Error("a hint that cannot be followed:", err)
	}
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
		t.Error("changed although it was refused", err)
	}
	for _, flags := range []ZeroFlags{0, NoHole} {
		if err := d.WriteZeroes(ctx, 100, 2<<20, flags); err != nil {
			t.Fatal(err)
		}
	}
	clear(data[100 : 100+2<<20])
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
		t.Error("not zeroed, or more than that", err)
	}
	if asked["punch"] != 1 || asked["zero"] != 1 {
		t.Error("asked again what had been refused:", asked)
	}
}

func TestFileDevice_Errors(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 1<<20)
	d.Hook = func(string) error { return syscall.ENOSPC }
	ctx := context.Background()
	_, werr := d.WriteAt(make([]byte, 512), 0)
	_, rerr := d.ReadAt(make([]byte, 512), 0)
	for what, err := range map[string]error{
		"write": werr, "read": rerr, "trim": d.Trim(ctx, 0, 512), "zero": d.WriteZeroes(ctx, 0, 512, 0),
		"no hole": d.WriteZeroes(ctx, 0, 512, NoHole), "flush": d.Flush(ctx),
	} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A leading hole of a large READ is sent as an OFFSET_HOLE chunk, unless DF is set.
func TestRead_LeadingHole(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 4<<20)
	data := randomBytes(1 << 20)
	if _, err := d.WriteAt(data, 1<<20); err != nil {
		t.Fatal(err)
	}
	if start, _, err := nextData(d.f, 0, 4<<20); err != nil || start != 1<<20 {
		t.Skipf("the file system of %s shows no holes", d.f.Name())
	}
	if n := d.LeadingHole(512<<10, 1<<20); n != 512<<10 {
		t.Error("HoleNow:", n)
	}
	d.Hook = func(string) error { return nil } // turns ReadNowait off
	addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
	c, simple := dialExport(t, addr, "v", true), dialExport(t, addr, "v", false)
	want := append(make([]byte, 512<<10), data[:512<<10]...)
	for _, x := range []struct {
		flags  uint16
		off    uint64
		want   []byte
		chunks []uint16
	}{
		{0, 512 << 10, want, []uint16{replyTypeOffsetHole, replyTypeOffsetData}},
		{cmdFlagDF, 512 << 10, want, []uint16{replyTypeOffsetData}},
		{0, 3 << 20, make([]byte, 1<<20), []uint16{replyTypeOffsetHole}},
		{0, 1 << 20, data, []uint16{replyTypeOffsetData}},
	} {
		a := c.roundTrip(cmdRead, x.flags, x.off, len(x.want), nil)
		if a.errno != 0 || !bytes.Equal(a.data, x.want) || !slices.Equal(a.chunks, x.chunks) {
			t.Errorf("off %d flags %d: error %d, chunks %v, equal %v", x.off, x.flags, a.errno, a.chunks, bytes.Equal(a.data, x.want))
		}
		if a := simple.roundTrip(cmdRead, 0, x.off, len(x.want), nil); !bytes.Equal(a.data, x.want) {
			t.Error("simple reply differs at", x.off)
		}
	}
}

func TestFileDeviceReadNowait(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 2<<20)
	data, got := randomBytes(2<<20), make([]byte, 2<<20)
	if _, err := d.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{0, 1, 4096, 2<<20 - 5} {
		p := got[:2<<20-off]
		n := d.ReadNowait(p, int64(off))
		if !bytes.Equal(p[:n], data[off:off+n]) {
			t.Errorf("ReadNow at %d: %d bytes differ", off, n)
		}
	}
	if d.noReadNowait.Load() {
		t.Skip("the file system cannot read without waiting")
	}
	if n := d.ReadNowait(got, 0); n == 0 {
		t.Error("nothing of what was just written is in memory")
	}
	if n := d.ReadNowait(make([]byte, 512), 2<<20); n != 0 {
		t.Error("beyond the end:", n)
	}
}
