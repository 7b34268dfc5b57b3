//go:build linux

package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// loopMount mounts a new file system of size bytes for the test, or skips it where this
// machine does not allow that. Its bytes are in memory, except in benchmarks.
func loopMount(t testing.TB, size int64, mkfs ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skip(mkfs[0] + " is not installed")
	}
	dir := ""
	if _, ok := t.(*testing.B); ok {
		dir = t.TempDir()
	} else {
		dir = memDir(t)
	}
	image, mnt := filepath.Join(dir, "image"), filepath.Join(dir, "mnt")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], image)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", mkfs, err, out)
	}
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, mnt).CombinedOutput(); err != nil {
		t.Skipf("loop mounts are not permitted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		waitForks()
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return mnt
}

func xfs(t testing.TB, size int64) string {
	return loopMount(t, size, "mkfs.xfs", "-q", "-m", "reflink=1")
}

func ext4(t testing.TB, size int64) string {
	return loopMount(t, size, "mkfs.ext4", "-q", "-m", "0")
}
