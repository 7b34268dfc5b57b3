//go:build linux

package local

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"blockconsole/models/backend"
)

// BenchmarkRestoreVerified compares a restore of a snapshot that has checksums with one of
// a snapshot of the same bytes that has none, by turns, from the call to AVAILABLE.
func BenchmarkRestoreVerified(b *testing.B) {
	b.Run("copy", func(b *testing.B) { benchRestoreVerified(b, ext4(b, 8*gib)) })
	b.Run("reflink", func(b *testing.B) { benchRestoreVerified(b, xfs(b, 8*gib)) })
}

func benchRestoreVerified(b *testing.B, mnt string) {
	const data = 256 << 20
	s := open(b, Options{Dir: filepath.Join(mnt, "data")})
	defer s.Close() // before the file system goes
	volume := backend.Key{Ref: newRef(b)}
	if _, err := s.CreateVolume(b.Context(), backend.VolumeSpec{Ref: volume.Ref, Name: "bench", SizeGiB: 2}); err != nil {
		b.Fatal(err)
	}
	settle(b, s)
	writeScattered(b, s.path("volumes", volume.Ref, dataFile), data)
	var from [2]backend.Key // without and with checksums
	for i := range from {
		from[i].Ref = newRef(b)
		if _, err := s.CreateSnapshot(b.Context(), backend.SnapshotSpec{Ref: from[i].Ref, Name: "bench", Volume: volume}); err != nil {
			b.Fatal(err)
		}
		settle(b, s)
	}
	if err := s.CheckSnapshot(b.Context(), from[1], false); err != nil {
		b.Fatal(err)
	}
	settle(b, s)
	var took [2][]time.Duration
	for b.Loop() {
		first := len(took[0]) % 2
		for _, i := range []int{first, 1 - first} {
			took[i] = append(took[i], timeRestore(b, s, from[i]))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	without, with := took[0][len(took[0])/2], took[1][len(took[1])/2]
	b.ReportMetric(without.Seconds(), "s-without")
	b.ReportMetric(with.Seconds(), "s-verified")
	b.ReportMetric(with.Seconds()/without.Seconds(), "ratio")
}

// timeRestore times a restore from the call to AVAILABLE, and deletes the volume.
func timeRestore(b *testing.B, s *Backend, from backend.Key) time.Duration {
	ctx, key := context.Background(), backend.Key{Ref: newRef(b)}
	start := time.Now()
	_, err := s.CreateVolume(ctx, backend.VolumeSpec{Ref: key.Ref, Name: "bench", SizeGiB: 2, Snapshot: &from})
	settle(b, s)
	v, err2 := s.Volume(ctx, key)
	took := time.Since(start)
	if err != nil || err2 != nil || v.Status != backend.Available {
		b.Fatalf("%+v %v %v", v, err, err2)
	}
	if err := s.DeleteVolume(ctx, key); err != nil {
		b.Fatal(err)
	}
	settle(b, s)
	return took
}
