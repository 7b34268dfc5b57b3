package imageformat

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	at := func(size, off int, magic string) []byte {
		p := make([]byte, size)
		copy(p[off:], magic)
		return p
	}
	for want, content := range map[string][]byte{
		"QCOW2":          []byte("QFI\xfb\x00\x00\x00\x03"),
		"QED":            at(4096, 0, "QED\x00"),
		"VMDK":           at(512, 0, "KDMV\x01\x00\x00\x00"),
		"VHDX":           at(1<<20, 0, "vhdxfile"),
		"VHD":            at(1<<20, 1<<20-512, "conectix"),
		"VDI":            at(512, 64, "\x7f\x10\xda\xbe"),
		"DMG":            at(1<<20, 1<<20-512, "koly"),
		"gzip":           []byte("\x1f\x8b\x08\x00"),
		"bzip2":          []byte("BZh91AY&SY"),
		"xz":             []byte("\xfd7zXZ\x00"),
		"Zstandard":      []byte("\x28\xb5\x2f\xfd"),
		"LZ4":            []byte("\x04\x22\x4d\x18"),
		"ZIP":            []byte("PK\x03\x04"),
		"7z":             []byte("7z\xbc\xaf\x27\x1c"),
		"tar":            at(1024, 257, "ustar\x0000"),
		"Android sparse": []byte("\x3a\xff\x26\xed"),
		ISO:              at(1<<20, 32769, "CD001"),
	} {
		if got, err := Detect(bytes.NewReader(content), int64(len(content))); err != nil || got != want {
			t.Errorf("%q, want %s: %v", got, want, err)
		}
	}
	for name, content := range map[string][]byte{
		"nothing": nil, "one byte": []byte("Q"), "a boot sector": at(1<<20, 510, "\x55\xaa"), "ext4": at(1<<20, 1080, "\x53\xef"),
		"LUKS, which is what a disk may be": at(4096, 0, "LUKS\xba\xbe"), "a magic inside": at(4096, 100, "QFI\xfb"),
	} {
		if got, err := Detect(bytes.NewReader(content), int64(len(content))); err != nil || got != "" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestDetect_Tools asks the programs that make such files.
func TestDetect_Tools(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	raw := filepath.Join(dir, "disk.raw")
	if err := os.WriteFile(raw, bytes.Repeat([]byte("bytes"), 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []struct {
		want string
		args []string
	}{
		{"", []string{"qemu-img", "convert", "-O", "raw", raw}},
		{"QCOW2", []string{"qemu-img", "convert", "-O", "qcow2", raw}},
		{"VMDK", []string{"qemu-img", "convert", "-O", "vmdk", raw}},
		{"VHDX", []string{"qemu-img", "convert", "-O", "vhdx", raw}},
		{"VHD", []string{"qemu-img", "convert", "-O", "vpc", raw}},
		{"VHD", []string{"qemu-img", "convert", "-O", "vpc", "-o", "subformat=fixed", raw}},
		{"VDI", []string{"qemu-img", "convert", "-O", "vdi", raw}},
		{"QED", []string{"qemu-img", "convert", "-O", "qed", raw}},
		{"Parallels", []string{"qemu-img", "convert", "-O", "parallels", raw}},
		{"Zstandard", []string{"zstd", "-q", raw, "-o"}},
	} {
		if _, err := exec.LookPath(tool.args[0]); err != nil {
			t.Logf("%s is not installed", tool.args[0])
			continue
		}
		path := filepath.Join(dir, tool.want+".made")
		os.Remove(path)
		if out, err := exec.Command(tool.args[0], append(tool.args[1:], path)...).CombinedOutput(); err != nil {
			t.Logf("%v: %v %s", tool.args, err, out)
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Detect(f, fi.Size()); err != nil || got != tool.want {
			t.Errorf("%v: %q, %v", tool.args, got, err)
		}
	}
}

func TestOfName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.qcow2": "QCOW2", "a.VMDK": "VMDK", "a.img.gz": "gzip", "a.raw.xz": "xz", "a.tar.gz": "gzip", "a.raw": "", "notes.txt": "", "gz": "",
	} {
		if got := OfName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
