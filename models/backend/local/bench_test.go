//go:build linux

package local

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"blockconsole/models/backend"
)

// The benchmarks compare the whole way of a snapshot, from the call to
// AVAILABLE, with what a shell does for the same bytes and the same durability.
// They alternate in one run and report the ratio of the medians, so that the
// speed of the disk drops out. docs/bench-local.md has the figures and goals.

// scatter writes total bytes of noise in runs of 4 KiB to 1 MiB all over a file,
// as a used disk looks. The seed is fixed.
func scatter(t testing.TB, path string, total int64) {
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

// ours times one snapshot from the call to AVAILABLE, then deletes it.
func ours(t testing.TB, b *Backend, vol string) time.Duration {
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

// theirs times a shell that copies and syncs.
func theirs(t testing.TB, cp, from string) time.Duration {
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

// compare alternates both ways, the first of a round changing, and reports.
func compare(b *testing.B, dir, cp string, rounds int) {
	be := open(b, Options{Dir: filepath.Join(dir, "data")})
	vol := newRef(b)
	if _, err := be.CreateVolume(context.Background(), backend.VolumeSpec{Ref: vol, SizeGiB: 2}); err != nil {
		b.Fatal(err)
	}
	settle(b, be)
	path := be.path("volumes", vol, dataName)
	scatter(b, path, 512<<20)
	for b.Loop() {
		var a, c []time.Duration
		for i := range rounds {
			unix.Sync()
			if i%2 == 0 {
				a = append(a, ours(b, be, vol))
				unix.Sync()
				c = append(c, theirs(b, cp, path))
			} else {
				c = append(c, theirs(b, cp, path))
				unix.Sync()
				a = append(a, ours(b, be, vol))
			}
		}
		b.Logf("ours %v\ntheirs %v", a, c)
		b.ReportMetric(median(a), "ms-ours")
		b.ReportMetric(median(c), "ms-cp")
		b.ReportMetric(median(a)/median(c), "ratio")
	}
}

func BenchmarkSnapshotCopy(b *testing.B) {
	dir := b.TempDir()
	if os.Geteuid() == 0 && os.Getenv("TMPDIR") == "" {
		b.Logf("on the file system of %s", dir)
	}
	compare(b, dir, "--sparse=always", 7)
}

func BenchmarkSnapshotReflink(b *testing.B) {
	compare(b, xfs(b, 8*gib), "--reflink=always", 31)
}
