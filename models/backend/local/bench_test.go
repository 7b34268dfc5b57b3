//go:build linux

package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/backend/local/nbd"
)

// The benchmarks compare the whole way of a snapshot, from the call to
// AVAILABLE, with what a shell does for the same bytes and the same durability.
// They alternate in one run and report the ratio of the medians, so that the
// speed of the disk drops out. docs/bench-local.md has the figures and goals.

// writeScattered writes total random bytes in runs of 4 KiB to 1 MiB at random places,
// the same each time.
func writeScattered(t testing.TB, path string, total int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	const page = 4096
	for total > 0 {
		n := min(int64(1+r.IntN(256))*page, total)
		off := r.Int64N((fi.Size()-n)/page) * page
		if _, err := f.WriteAt(noise[:n], off); err != nil {
			t.Fatal(err)
		}
		total -= n
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// timeSnapshot times a snapshot from the call to AVAILABLE, and deletes it.
func timeSnapshot(t testing.TB, b *Backend, vol string) time.Duration {
	ctx, key := context.Background(), backend.Key{Ref: newRef(t)}
	start := time.Now()
	_, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: key.Ref, Name: "bench", Volume: backend.Key{Ref: vol}})
	settle(t, b)
	s, err2 := b.Snapshot(ctx, key)
	d := time.Since(start)
	if err != nil || err2 != nil || s.Status != backend.Available {
		t.Fatalf("%+v %v %v", s, err, err2)
	}
	if err := b.DeleteSnapshot(ctx, key); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	return d
}

// timeShell times cp and sync.
func timeShell(t testing.TB, cp, from string) time.Duration {
	to := from + ".copy"
	start := time.Now()
	out, err := exec.Command("sh", "-c", `cp `+cp+` "$1" "$2" && sync "$2"`, "sh", from, to).CombinedOutput()
	d := time.Since(start)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	return d
}

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return d[len(d)/2].Seconds() * 1000
}

// dropCache drops a file from the page cache.
func dropCache(t testing.TB, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// compareWithCp alternates timeSnapshot and timeShell and reports the medians.
func compareWithCp(b *testing.B, dir, cp string, rounds int, cold bool) {
	be := open(b, Options{Dir: filepath.Join(dir, "data")})
	vol := newRef(b)
	if _, err := be.CreateVolume(context.Background(), backend.VolumeSpec{Ref: vol, SizeGiB: 2}); err != nil {
		b.Fatal(err)
	}
	settle(b, be)
	path := be.path("volumes", vol, dataFile)
	writeScattered(b, path, 590<<20) // runs overlap: 512 MiB are allocated
	var us, them []time.Duration
	ways := []func(){
		func() { us = append(us, timeSnapshot(b, be, vol)) },
		func() { them = append(them, timeShell(b, cp, path)) },
	}
	for b.Loop() {
		us, them = nil, nil
		for range rounds {
			for _, way := range ways {
				unix.Sync() // so that neither writes what the other left
				if cold {
					dropCache(b, path)
				}
				way()
			}
			slices.Reverse(ways)
		}
		b.ReportMetric(median(us), "ms-ours")
		b.ReportMetric(median(them), "ms-cp")
		b.ReportMetric(median(us)/median(them), "ratio")
	}
}

func BenchmarkSnapshotCopy(b *testing.B) {
	b.Run("cached", func(b *testing.B) { compareWithCp(b, b.TempDir(), "--sparse=always", 9, false) })
	b.Run("cold", func(b *testing.B) { compareWithCp(b, b.TempDir(), "--sparse=always", 9, true) })
}

func BenchmarkSnapshotReflink(b *testing.B) {
	compareWithCp(b, xfs(b, 8*gib), "--reflink=always", 31, false)
}

// BenchmarkFloor is a lower bound: the same bytes written from memory and synced.
func BenchmarkFloor(b *testing.B) {
	p := make([]byte, 8<<20)
	for i := range p {
		p[i] = byte(i)
	}
	var all []time.Duration
	for b.Loop() {
		f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
		if err != nil {
			b.Fatal(err)
		}
		unix.Sync()
		start := time.Now()
		for range 64 { // 512 MiB, as the snapshots
			if _, err := f.Write(p); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		all = append(all, time.Since(start))
		f.Close()
		if err := os.Remove(f.Name()); err != nil { // the next one gets the same blocks
			b.Fatal(err)
		}
	}
	b.ReportMetric(median(all), "ms-floor")
}

// BenchmarkOpen loads 100,000 volumes.
func BenchmarkOpen(b *testing.B) {
	dir, err := os.MkdirTemp("/dev/shm", "blockconsole-bench")
	if err != nil {
		b.Skip("no memory file system: ", err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	be := open(b, Options{Dir: dir})
	be.Close()
	for range 100_000 {
		m := meta{Format: metaFormat, Kind: volumes, Ref: newRef(b), Name: "volume", SizeGiB: 1, Status: backend.Available}
		folder := be.objectDir(published, m)
		if err := os.Mkdir(folder, 0o700); err != nil {
			b.Fatal(err)
		}
		f, err := be.disk.createMeta(folder+"/"+metaFile, m)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
		if f, err = be.disk.create(folder + "/" + dataFile); err != nil {
			b.Fatal(err)
		}
		if err := f.Truncate(gib); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
	for b.Loop() {
		be := open(b, Options{Dir: dir})
		if len(be.volumes.order) != 100_000 {
			b.Fatal(len(be.volumes.order))
		}
		be.Close()
	}
}

func BenchmarkPageOf50(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			be := open(b, Options{Dir: b.TempDir()})
			middle := ""
			for i := range n {
				ref := newRef(b)
				be.volumes.add(&object{meta: meta{Kind: volumes, Ref: ref, SizeGiB: 1, Status: backend.Available}, location: published})
				if i == n/2 {
					middle = ref
				}
			}
			for b.Loop() {
				if p, err := be.Volumes(context.Background(), middle, 50); err != nil || len(p.Items) != 50 {
					b.Fatal(len(p.Items), err)
				}
			}
		})
	}
}

// BenchmarkCheckOpened compares FLUSH and 4 KiB WRITEs with FUA over NBD with and without
// the look at the file before the answer, by turns, on a file in memory, where a sync
// costs nothing, and on the disk.
func BenchmarkCheckOpened(b *testing.B) {
	for name, dir := range map[string]string{"memory": memDir(b), "disk": b.TempDir()} {
		for _, request := range []string{"flush", "fua"} {
			b.Run(name+"/"+request, func(b *testing.B) { benchCheckOpened(b, dir, request == "fua") })
		}
	}
}

func benchCheckOpened(b *testing.B, dir string, fua bool) {
	s := open(b, withNBD(b, Options{Dir: filepath.Join(dir, newRef(b))}))
	var looks [2]*backendtest.NBD
	for i := range looks {
		ref := newRef(b)
		_, err := s.CreateVolume(b.Context(), backend.VolumeSpec{Ref: ref, Name: "bench", SizeGiB: 1})
		if err != nil {
			b.Fatal(err)
		}
		settle(b, s)
		if err := s.AttachVolume(b.Context(), backend.Key{Ref: ref}, "here"); err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			e := s.exports[ref].export
			e.nbd = nbd.NewExport(ref, nbd.NewFileDevice(e.file), nbd.ExportOptions{})
		}
		if looks[i], err = backendtest.DialNBD(b.Context(), s.nbd.address, "127.0.0.1", nil); err != nil {
			b.Fatal(err)
		}
		defer looks[i].Close()
		if err := looks[i].Use(ref); err != nil {
			b.Fatal(err)
		}
	}
	block := make([]byte, 4096)
	took := [2][]time.Duration{}
	for b.Loop() {
		first := len(took[0]) % 2
		for _, i := range []int{first, 1 - first} {
			begin := time.Now()
			err := error(nil)
			if fua {
				err = looks[i].WriteFUA(block, int64(len(took[0])%1000)*4096)
			} else {
				err = looks[i].Flush()
			}
			if err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	without, with := took[0][len(took[0])/2], took[1][len(took[1])/2]
	b.ReportMetric(float64(without.Nanoseconds())/1000, "µs-without")
	b.ReportMetric(float64(with.Nanoseconds())/1000, "µs-with")
	b.ReportMetric(float64(with)/float64(without), "ratio")
}
