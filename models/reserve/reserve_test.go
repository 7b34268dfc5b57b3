//go:build linux

package reserve_test

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/reserve"
	"blockconsole/models/reserve/mounttest"
)

const mib = int64(1) << 20

// clock is a clock that is set.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func open(t *testing.T, folder string) (*reserve.Reserve, *clock) {
	t.Helper()
	c := &clock{}
	r, err := reserve.Open(reserve.Options{Dir: folder, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// want looks, and checks what is short and whether the reserve is in place.
func want(t *testing.T, when string, r *reserve.Reserve, short backend.Cause, whole bool) {
	t.Helper()
	if err := r.Look(); err != nil {
		t.Fatal(err)
	}
	if s := r.State(); s.Short != short || s.Whole != whole {
		t.Errorf("%s: short of %q, whole %v; want %q, %v: %+v", when, s.Short, s.Whole, short, whole, s)
	}
}

func testBytes(t *testing.T, folder string) {
	r, _ := open(t, folder)
	want(t, "empty", r, "", true)
	if !r.Begin(mib) {
		t.Error("no space is given although there is enough")
	}
	r.End(mib)

	ballast := reserve.HeldBytes(r)
	drop := mounttest.Fill(t, folder, ballast-mib)
	want(t, "below the watermark", r, backend.NoBytes, true)
	if r.Begin(4096) {
		t.Error("new space is given below the watermark")
	}
	drop()
	want(t, "with space again", r, "", true)
	if !r.Begin(4096) {
		t.Error("no space is given although there is enough again")
	}
	r.End(4096)

	drop = mounttest.Fill(t, folder, 0)
	want(t, "full", r, backend.NoBytes, false)
	if err := os.WriteFile(filepath.Join(folder, "of the console"), make([]byte, ballast/2), 0o600); err != nil {
		t.Error("what was given back is of no use:", err)
	}
	if r.Begin(4096) {
		t.Error("servers get what was given back")
	}
	again, _ := open(t, folder) // a start
	want(t, "a start on a full disk", again, backend.NoBytes, false)
	drop()
	want(t, "with space after all", r, "", true)
}

func TestReserve_Tmpfs(t *testing.T) {
	t.Parallel()
	testBytes(t, mounttest.Tmpfs(t, "size=128m"))
}

func TestReserve_Ext4(t *testing.T) {
	t.Parallel()
	folder, _ := mounttest.Image(t, 256*mib, "", "mkfs.ext4", "-q", "-m", "0")
	testBytes(t, folder)
}

func TestReserve_XFS(t *testing.T) {
	t.Parallel()
	folder, _ := mounttest.Image(t, 400*mib, "", "mkfs.xfs", "-q")
	testBytes(t, folder)
}

func TestReserve_Inodes(t *testing.T) {
	t.Parallel()
	folder := mounttest.Tmpfs(t, "size=128m,nr_inodes=2048")
	r, _ := open(t, folder)
	want(t, "empty", r, "", true)
	drop := mounttest.FillInodes(t, folder, 40)
	want(t, "few", r, backend.NoInodes, true)
	if !r.Begin(4096) {
		t.Error("bytes are refused although only inodes are short")
	}
	r.End(4096)
	drop()
	want(t, "with inodes again", r, "", true)
	drop = mounttest.FillInodes(t, folder, 0)
	want(t, "none", r, backend.NoInodes, false)
	if err := os.WriteFile(filepath.Join(folder, "of the console"), []byte("x"), 0o600); err != nil {
		t.Error("what was given back is of no use:", err)
	}
	drop()
	want(t, "with inodes after all", r, "", true)
}

// TestBegin_FastWriters: between two looks servers cannot touch the ballast, nor the room
// below the watermark.
func TestBegin_FastWriters(t *testing.T) {
	t.Parallel()
	folder := mounttest.Tmpfs(t, "size=128m")
	r, _ := open(t, folder)
	watermark := reserve.HeldBytes(r)
	var writers sync.WaitGroup
	for i := range 4 {
		f, err := os.Create(filepath.Join(folder, string(rune('a'+i))))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		writers.Go(func() {
			block := make([]byte, mib)
			for off := int64(0); r.Begin(mib); off += mib {
				_, err := f.WriteAt(block, off)
				r.End(mib)
				if err != nil {
					t.Error("it was given and is not there:", err)
					return
				}
			}
		})
	}
	writers.Wait()
	if free := mounttest.FreeBytes(t, folder); free < watermark-mib || free > watermark+8*mib {
		t.Errorf("%d bytes are left, the watermark is %d", free, watermark)
	}
	want(t, "after them", r, backend.NoBytes, true)
}

// TestReport_Quota: what the figures do not tell ends when the reserve can be taken again.
func TestReport_Quota(t *testing.T) {
	t.Parallel()
	r, clock := open(t, t.TempDir())
	if r.Report(backend.NoAccess) || !r.State().Whole {
		t.Error("it was given back for a refusal that it cannot help")
	}
	if !r.Report(backend.OverQuota) {
		t.Error("nothing was given back")
	}
	if r.Report(backend.OverQuota) {
		t.Error("it says that it made room a second time")
	}
	want(t, "refused", r, backend.OverQuota, false)
	if r.Begin(4096) {
		t.Error("servers get what the quota allows the console")
	}
	clock.advance(time.Minute)
	want(t, "later", r, "", true)
}

// TestReserve_ReadOnly: the figures do not tell, a write does.
func TestReserve_ReadOnly(t *testing.T) {
	folder, device := mounttest.Image(t, 256*mib, "errors=remount-ro", "mkfs.ext4", "-q", "-m", "0")
	r, clock := open(t, folder)
	want(t, "before", r, "", true)
	mounttest.FailReadOnly(t, device)
	clock.advance(2 * time.Second)
	want(t, "read-only", r, backend.ReadOnly, true)
	if r.State().Writable() {
		t.Error("it says that it is writable")
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	full := mounttest.Tmpfs(t, "size=4m")
	mounttest.Fill(t, full, 0)
	none := mounttest.Tmpfs(t, "size=4m,nr_inodes=8")
	mounttest.FillInodes(t, none, 0)
	for folder, cause := range map[string]backend.Cause{full: backend.NoBytes, none: backend.NoInodes, t.TempDir(): ""} {
		if got := reserve.Diagnose(folder); got != cause {
			t.Errorf("%s: %q, want %q", folder, got, cause)
		}
	}
}
