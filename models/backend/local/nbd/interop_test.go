package nbd

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// requireTools skips a test whose programs are missing, or fails it where
// BLOCKCONSOLE_REQUIRE_NBD is set.
func requireTools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("BLOCKCONSOLE_REQUIRE_NBD") != "" {
			t.Fatal(name + " is missing")
		}
		t.Skip(name + " is missing")
	}
}

// runTool runs a program in a folder of its own and returns its output.
func runTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = t.TempDir()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestInterop_Nbdinfo(t *testing.T) {
	t.Parallel()
	requireTools(t, "nbdinfo")
	addr, _ := startServer(t, twoExports(), nil)
	var info struct {
		Protocol string
		Exports  []map[string]any
	}
	out := runTool(t, "nbdinfo", "--json", "--list", "nbd://"+addr)
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		t.Fatal(err, out)
	}
	if info.Protocol != "newstyle-fixed" || len(info.Exports) != 2 {
		t.Fatal(out)
	}
	for key, want := range map[string]any{
		"export-name": "a", "description": "first", "export-size": 1048576.0, "is_read_only": false, "can_cache": true, "can_df": true,
		"can_fast_zero": true, "can_flush": true, "can_fua": true, "can_multi_conn": true, "can_trim": true, "can_zero": true,
		"block_size_minimum": 1.0, "block_size_preferred": 4096.0, "block_size_maximum": 33554432.0,
	} {
		if got := info.Exports[0][key]; got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if ro := info.Exports[1]; ro["is_read_only"] != true || ro["can_trim"] != false {
		t.Error(ro)
	}
	if out, err := exec.Command("nbdinfo", "nbd://"+addr+"/c").CombinedOutput(); err == nil {
		t.Error(string(out))
	}
}

// nbdcopy writes and reads a random pattern over several connections and keeps holes.
func TestInterop_Nbdcopy(t *testing.T) {
	t.Parallel()
	requireTools(t, "nbdcopy", "nbdinfo")
	const size = 64 << 20
	dev := newFileDevice(t, size)
	addr, _ := startServer(t, singleExport{NewExport("v", dev, ExportOptions{})}, nil)
	uri, dir := "nbd://"+addr+"/v", t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	data := randomBytes(16 << 20)
	f, err := os.Create(src)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := f.WriteAt(data[i<<22:(i+1)<<22], int64(i)<<24+4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	runTool(t, "nbdcopy", "--flush", "--connections=4", src, uri)
	runTool(t, "nbdcopy", "--connections=4", uri, dst)
	wantSameContent(t, src, dst)
	wantSameContent(t, src, dev.f.Name())
	out := runTool(t, "nbdinfo", "--json", "--map", uri)
	var extents []struct{ Offset, Length, Type int64 }
	if err := json.Unmarshal([]byte(out), &extents); err != nil {
		t.Fatal(err, out)
	}
	var covered, holes int64
	for _, e := range extents {
		if e.Offset != covered {
			t.Fatal("a gap in the map:", out)
		}
		covered += e.Length
		if e.Type == stateHole|stateZero {
			holes += e.Length
		}
	}
	if covered != size || holes < size/2 {
		t.Errorf("%d bytes mapped, %d of them holes: %s", covered, holes, out)
	}
}

func wantSameContent(t testing.TB, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", a, b)
	}
}

func TestInterop_QemuImg(t *testing.T) {
	t.Parallel()
	requireTools(t, "qemu-img")
	dev := newFileDevice(t, 32<<20)
	addr, _ := startServer(t, singleExport{NewExport("v", dev, ExportOptions{})}, nil)
	uri, dir := "nbd://"+addr+"/v", t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	data := append(randomBytes(5<<20), make([]byte, 27<<20)...)
	if err := os.WriteFile(src, data, 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", "-m", "8", "-W", src, uri)
	runTool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", src, uri)
	runTool(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", uri, dst)
	wantSameContent(t, src, dst)
	if out := runTool(t, "qemu-img", "info", "-f", "raw", uri); !strings.Contains(out, "32 MiB") {
		t.Error(out)
	}
	runTool(t, "qemu-img", "bench", "-f", "raw", "-c", "2000", "-d", "32", "-w", "-s", "4096", uri)
	runTool(t, "qemu-img", "bench", "-f", "raw", "-c", "2000", "-d", "32", "-w", "--flush-interval", "100", uri)
}

// qemu-io writes, zeroes and discards, and verifies patterns itself.
func TestInterop_QemuIO(t *testing.T) {
	t.Parallel()
	requireTools(t, "qemu-io", "nbdinfo")
	dev := newFileDevice(t, 16<<20)
	addr, _ := startServer(t, singleExport{NewExport("v", dev, ExportOptions{})}, nil)
	uri := "nbd://" + addr + "/v"
	args := []string{"-f", "raw", "-d", "unmap"}
	for _, c := range []string{
		"write -P 0xa5 0 8M", "read -P 0xa5 0 8M",
		"write -P 0x3c 12345 54321", "read -P 0x3c 12345 54321", "read -P 0xa5 66666 1000",
		"write -f -P 0x11 1M 4k", "read -P 0x11 1M 4k",
		"write -z 2M 1M", "read -P 0 2M 1M",
		"write -z -u 3M 1M", "read -P 0 3M 1M",
		"discard 4M 1M", "read -P 0 4M 1M", "read -P 0xa5 5M 1M",
		"aio_write -P 0x22 6M 512k", "aio_write -P 0x33 7M 512k", "aio_flush", "read -P 0x22 6M 512k", "read -P 0x33 7M 512k",
		"flush",
	} {
		args = append(args, "-c", c)
	}
	out := runTool(t, "qemu-io", append(args, uri)...)
	if strings.Contains(out, "failed") || strings.Contains(out, "error") {
		t.Error(out)
	}
	out = runTool(t, "nbdinfo", "--map", uri)
	for _, hole := range []int64{3 << 20, 4 << 20} { // unmapped, and discarded
		start, stop, err := nextData(dev.f, hole, hole+1<<20)
		if err != nil || start != stop {
			t.Errorf("data at %d: %d to %d %v\n%s", hole, start, stop, err, out)
		}
	}
	if out, err := exec.Command("qemu-io", "-f", "raw", "-c", "write 15M 2M", uri).CombinedOutput(); err == nil && !bytes.Contains(out, []byte("Input/output error")) && !bytes.Contains(out, []byte("No space")) {
		t.Errorf("a write beyond the end: %s", out)
	}
}

// fio verifies what it wrote with many requests under way.
func TestInterop_Fio(t *testing.T) {
	t.Parallel()
	requireTools(t, "fio")
	if out, err := exec.Command("fio", "--enghelp=nbd").CombinedOutput(); err != nil || !bytes.Contains(out, []byte("uri")) {
		t.Skip("fio has no nbd engine")
	}
	dev := newFileDevice(t, 32<<20)
	addr, _ := startServer(t, singleExport{NewExport("v", dev, ExportOptions{})}, nil)
	out := runTool(t, "fio", "--name=verify", "--ioengine=nbd", "--uri=nbd://"+addr+"/v", "--rw=randwrite", "--bsrange=512-128k", "--iodepth=32",
		"--size=32m", "--verify=crc32c", "--verify_fatal=1", "--fsync=200", "--output-format=terse")
	if !strings.Contains(out, "verify") {
		t.Error(out)
	}
}
