package local

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
)

// TestBenchBackend serves a volume for docs/snapshot-bench.sh, which sets the environment.
// It prints the volume's file and export, and obeys the lines of its input:
//
//	snapshot   prints "held MS" when the instant is taken, "available SECONDS" when the
//	           copy is durable, both since the snapshot was asked for
//	begin      is a snapshot that is deleted once its instant is taken: prints "held MS"
func TestBenchBackend(t *testing.T) {
	dir := os.Getenv("BLOCKCONSOLE_SNAPSHOT_BENCH_DIR")
	if dir == "" {
		t.Skip("only for docs/snapshot-bench.sh")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("BLOCKCONSOLE_SNAPSHOT_BENCH_PORT"))
	if err != nil {
		t.Fatal(err)
	}
	o := withNBD(t, Options{Dir: dir})
	o.NBD.Close()
	o.NBD = l
	b, ref := open(t, o), newRef(t)
	size := int(testNumber(t, "BLOCKCONSOLE_SNAPSHOT_BENCH_GIB", 1))
	if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: ref, Name: "bench", SizeGiB: size}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if err := b.AttachVolume(t.Context(), backend.Key{Ref: ref}, "here"); err != nil {
		t.Fatal(err)
	}
	fmt.Println(b.path("volumes", ref, dataFile), ref)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		benchSnapshot(t, b, ref, strings.TrimSpace(in.Text()) == "begin")
	}
}

func benchSnapshot(t *testing.T, b *Backend, volume string, deleted bool) {
	t.Helper()
	ctx, key, start := context.Background(), backend.Key{Ref: newRef(t)}, time.Now()
	sn, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: key.Ref, Volume: backend.Key{Ref: volume}, Attached: true, Acknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("held %.3f\n", sn.Held.Seconds()*1000)
	if !deleted {
		settle(t, b)
		if sn, err = b.Snapshot(ctx, key); err != nil || sn.Status != backend.Available {
			t.Fatalf("%+v %v", sn, err)
		}
		fmt.Printf("available %.3f\n", time.Since(start).Seconds())
	}
	if err := b.DeleteSnapshot(ctx, key); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	fmt.Println("deleted")
}
