//go:build linux

package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

// attachedVolume makes a backend in dir with a volume that is attached to this machine.
func attachedVolume(t testing.TB, dir string, hook func(op, string) error) (*Backend, string) {
	t.Helper()
	b, ref := open(t, withNBD(t, Options{Dir: filepath.Join(dir, "data"), hook: hook})), newRef(t)
	if _, err := b.CreateVolume(context.Background(), backend.VolumeSpec{Ref: ref, Name: "served", SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if err := b.AttachVolume(context.Background(), backend.Key{Ref: ref}, "here"); err != nil {
		t.Fatal(err)
	}
	return b, ref
}

// takeSnapshot takes a snapshot and waits for it.
func takeSnapshot(t testing.TB, b *Backend, volume string) backend.Snapshot {
	t.Helper()
	ctx, key := context.Background(), backend.Key{Ref: newRef(t)}
	spec := backend.SnapshotSpec{Ref: key.Ref, Volume: backend.Key{Ref: volume}, Attached: true, Acknowledged: true}
	if _, err := b.CreateSnapshot(ctx, spec); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	sn, err := b.Snapshot(ctx, key)
	if err != nil || sn.Status != backend.Available {
		t.Fatalf("%+v %v", sn, err)
	}
	return sn
}

const blocksPerRound = 64 // blocks that writeRounds writes one after the other, again and again

// writeRounds writes the number of the round into each block, in order and all over the
// volume, until stop.
func writeRounds(c *backendtest.NBD, stop *atomic.Bool) error {
	block := make([]byte, 4096)
	for round := uint64(1); !stop.Load(); round++ {
		binary.BigEndian.PutUint64(block, round)
		for i := range int64(blocksPerRound) {
			if _, err := c.WriteAt(block, i*gib/blocksPerRound); err != nil {
				return err
			}
		}
	}
	return nil
}

// wantOneInstant fails unless the snapshot holds everything written before some instant
// and nothing written after it.
func wantOneInstant(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var seen [blocksPerRound]uint64
	for i := range seen {
		var block [8]byte
		if _, err := f.ReadAt(block[:], int64(i)*gib/blocksPerRound); err != nil {
			t.Fatal(err)
		}
		seen[i] = binary.BigEndian.Uint64(block[:])
	}
	for i := range seen[1:] {
		if seen[i+1] > seen[i] || seen[0]-seen[i+1] > 1 {
			t.Fatalf("of different moments: %v", seen)
		}
	}
	if seen[0] == 0 {
		t.Error("nothing was written yet: the test tests nothing")
	}
}

// withoutReflink makes a disk that cannot share blocks.
func withoutReflink(o op, _ string) error {
	if o == opClone {
		return syscall.EOPNOTSUPP
	}
	return nil
}

// A snapshot of an attached volume is of one instant, whether the file system shares
// blocks or the bytes are copied while a server writes.
func TestCreateSnapshot_AttachedOneInstant(t *testing.T) {
	t.Parallel()
	t.Run("reflink", func(t *testing.T) { t.Parallel(); testOneInstant(t, xfs(t, 4*gib), nil) })
	t.Run("copy before write", func(t *testing.T) { t.Parallel(); testOneInstant(t, t.TempDir(), withoutReflink) })
}

func testOneInstant(t *testing.T, dir string, hook func(op, string) error) {
	b, ref := attachedVolume(t, dir, hook)
	writers := []*backendtest.NBD{useExport(t, b, ref)}
	if _, err := writers[0].WriteAt(make([]byte, 512), gib-512); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := writeRounds(writers[0], &stop); err != nil {
			t.Error(err)
		}
	})
	for read := make([]byte, 8); binary.BigEndian.Uint64(read) == 0; { // until it is under way
		if _, err := useExport(t, b, ref).ReadAt(read, 0); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		before := b.now()
		sn := takeSnapshot(t, b, ref)
		if sn.Held <= 0 || sn.Held > maxQuiesce {
			t.Errorf("held for %s", sn.Held)
		}
		if sn.TakenAt.Before(before.Truncate(time.Microsecond)) || sn.TakenAt.After(b.now()) || sn.Consistency != backend.CrashConsistent {
			t.Errorf("%q, taken at %s", sn.Consistency, sn.TakenAt)
		}
		wantOneInstant(t, b.path("snapshots", sn.Ref, dataFile))
	}
	stop.Store(true)
	writing.Wait()
	sn := takeSnapshot(t, b, ref)
	s := &harness{T: t, dir: b.dir, b: b}
	s.reopen()
	if again, err := s.b.Snapshot(t.Context(), sn.Key); err != nil || again.Held != sn.Held || !again.TakenAt.Equal(sn.TakenAt) || again.Consistency != sn.Consistency {
		t.Errorf("%+v, and after a restart %+v, %v", sn, again, err)
	}
}

// Where the file system refuses to share blocks although it can, the copy is of one instant
// too.
func TestCreateSnapshot_CloneFails(t *testing.T) {
	t.Parallel()
	d := &failingDisk{}
	b, ref := attachedVolume(t, xfs(t, 4*gib), d.hook)
	c := useExport(t, b, ref)
	for errno, want := range map[syscall.Errno]backend.Status{syscall.EIO: backend.ErrorStatus, syscall.EOPNOTSUPP: backend.Available} {
		d.errno = errno
		d.failOn(opClone)
		key := backend.Key{Ref: newRef(t)}
		if _, err := b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: key.Ref, Volume: backend.Key{Ref: ref}}); err != nil {
			t.Fatal(err)
		}
		settle(t, b)
		if sn, err := b.Snapshot(t.Context(), key); err != nil || sn.Status != want || (sn.Failure == nil) != (want == backend.Available) {
			t.Errorf("%s: %+v %v", errno, sn, err)
		}
		d.failOn("")
		if _, err := c.WriteAt(text, 0); err != nil {
			t.Error(err)
		}
	}
	takeSnapshot(t, b, ref)
}

func countExtents(b *Backend, ref string) (int, error) {
	f, err := os.Open(b.path("volumes", ref, dataFile))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return b.disk.extents(f)
}

// fragmentFile gives a file about n extents and syncs it.
func fragmentFile(t testing.TB, path string, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for i := range n {
		binary.BigEndian.PutUint64(block, uint64(i))
		if _, err := f.WriteAt(block, int64(i)*8192); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestEstimateHold(t *testing.T) {
	t.Parallel()
	b, ref := attachedVolume(t, xfs(t, 4*gib), nil)
	b.wg.Wait() // until the extents are counted
	few := getVolume(t, b, ref).Hold
	fragmentFile(t, b.path("volumes", ref, dataFile), 1500)
	n, err := countExtents(b, ref)
	if err != nil || n < 1500 || n > 3100 { // preallocated holes count too
		t.Fatalf("%d extents, %v", n, err)
	}
	if again := getVolume(t, b, ref).Hold; again != few {
		t.Errorf("asked again at once: %s, %s", few, again)
	}
	b.mu.Lock()
	b.exports[ref].export.countedAt = b.now().Add(-time.Minute)
	b.mu.Unlock()
	getVolume(t, b, ref)
	b.wg.Wait()
	many := getVolume(t, b, ref).Hold
	if few < holdBase || few > 2*holdBase || many != holdBase+time.Duration(n)*initialHoldPerExtent {
		t.Errorf("%s, then %s for %d extents", few, many, n)
	}
	held := takeSnapshot(t, b, ref).Held
	learned := (initialHoldPerExtent + max(0, held-holdBase)/time.Duration(n)) / 2
	if after := getVolume(t, b, ref).Hold; after != holdBase+time.Duration(n)*learned {
		t.Errorf("%s predicted after a hold of %s", after, held)
	}
}

// BenchmarkHold takes snapshots of attached volumes of more and more extents while a
// server writes 4 KiB at a time, and reports how long its writes were held, and the
// estimate.
func BenchmarkHold(bench *testing.B) {
	for _, extents := range []int{1, 100, 1000, 2000, 10_000, 50_000} {
		bench.Run(fmt.Sprint(extents), func(bench *testing.B) {
			b, ref := attachedVolume(bench, xfs(bench, 8*gib), nil)
			fragmentFile(bench, b.path("volumes", ref, dataFile), extents)
			c, err := backendtest.DialNBD(bench.Context(), b.nbd.address, "127.0.0.1", nil)
			if err == nil {
				err = c.Use(ref)
			}
			if err != nil {
				bench.Fatal(err)
			}
			defer c.Close()
			var stop atomic.Bool
			var writing sync.WaitGroup
			writing.Go(func() {
				block := make([]byte, 4096)
				for i := 0; !stop.Load(); i++ {
					if _, err := c.WriteAt(block, int64(i%extents)*8192); err != nil {
						bench.Error(err)
						return
					}
				}
			})
			var held []time.Duration
			n := 0
			for bench.Loop() {
				for range 9 - 6*(extents/50_000) {
					sn := takeSnapshot(bench, b, ref)
					held = append(held, sn.Held)
					if err := b.DeleteSnapshot(context.Background(), sn.Key); err != nil {
						bench.Fatal(err)
					}
					settle(bench, b)
				}
				if n, err = countExtents(b, ref); err != nil {
					bench.Fatal(err)
				}
			}
			stop.Store(true)
			writing.Wait()
			bench.ReportMetric(median(held), "ms-held")
			bench.ReportMetric(held[len(held)-1].Seconds()*1000, "ms-most")
			bench.ReportMetric(float64(n), "extents")
			b.mu.Lock()
			defer b.mu.Unlock()
			bench.ReportMetric((holdBase+time.Duration(n)*b.holdPerExtent).Seconds()*1000, "ms-predicted")
		})
	}
}
