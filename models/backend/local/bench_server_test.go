package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
)

// TestBenchBackend serves a volume for docs/snapshot-bench.sh, which sets the environment.
// It prints the volume's file and export, and takes a snapshot for each line of its input:
//
//	copy    prints "held MS AT" when the instant is taken, "available AT" when the copy is
//	        durable, each with the Unix time in ms, and "deleted"
//	begin   deletes the snapshot once its instant is taken
func TestBenchBackend(t *testing.T) {
	dir := os.Getenv("BLOCKCONSOLE_SNAPSHOT_BENCH_DIR")
	if dir == "" {
		t.Skip("only for docs/snapshot-bench.sh")
	}
	ref := makeLong(t, dir, int(testNumber(t, "BLOCKCONSOLE_SNAPSHOT_BENCH_GIB", 1)))
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("BLOCKCONSOLE_SNAPSHOT_BENCH_PORT"))
	if err != nil {
		t.Fatal(err)
	}
	o := withNBD(t, Options{Dir: dir})
	o.NBD.Close()
	o.NBD = l
	b := open(t, o)
	if err := b.AttachVolume(t.Context(), backend.Key{Ref: ref}, "here"); err != nil {
		t.Fatal(err)
	}
	fmt.Println(b.path("volumes", ref, dataFile), ref)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		benchSnapshot(t, b, ref, strings.TrimSpace(in.Text()) == "begin")
	}
}

// makeLong makes a volume that may be longer than the disk, on which a snapshot does not
// depend.
func makeLong(t *testing.T, dir string, gibs int) (ref string) {
	t.Helper()
	b := open(t, Options{Dir: dir})
	ref = newRef(t)
	if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: ref, Name: "bench", SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	folder := b.path("volumes", ref)
	m, err := readMeta(folder, volumes, ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), os.Remove(folder+"/"+metaFile), os.Truncate(folder+"/"+dataFile, int64(gibs)*gib)); err != nil {
		t.Fatal(err)
	}
	m.SizeGiB = gibs
	f, err := disk{}.createMeta(folder+"/"+metaFile, m)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return ref
}

func benchSnapshot(t *testing.T, b *Backend, volume string, deleted bool) {
	t.Helper()
	ctx, key := context.Background(), backend.Key{Ref: newRef(t)}
	if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: key.Ref, Volume: backend.Key{Ref: volume}}); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	j := b.snapshots.byRef[key.Ref].job
	b.mu.Unlock()
	if j != nil { // else all is done
		<-j.instant
	}
	sn, err := b.Snapshot(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("held %.3f %d\n", sn.Held.Seconds()*1000, sn.TakenAt.UnixMilli())
	if !deleted {
		settle(t, b)
		if sn, err = b.Snapshot(ctx, key); err != nil || sn.Status != backend.Available {
			t.Fatalf("%+v %v", sn, err)
		}
		fmt.Printf("available %d\n", time.Now().UnixMilli())
	}
	if err := b.DeleteSnapshot(ctx, key); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	fmt.Println("deleted")
}
