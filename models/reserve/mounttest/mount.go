//go:build linux

// Package mounttest mounts small file systems for tests that fill or break them.
package mounttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Tmpfs mounts a file system in memory with options such as size=64m,nr_inodes=200, and
// returns its folder. The test is skipped where that is not permitted.
func Tmpfs(t testing.TB, options string) string {
	t.Helper()
	folder := t.TempDir()
	mount(t, folder, "-t", "tmpfs", "-o", options, "tmpfs", folder)
	return folder
}

// Image mounts a new file system of size bytes in a file, made by a command such as
// mkfs.ext4 -q, with more options of mount, and returns its folder and block device. The
// test is skipped where that is not permitted.
func Image(t testing.TB, size int64, options string, mkfs ...string) (folder, device string) {
	t.Helper()
	if _, err := exec.LookPath(mkfs[0]); err != nil {
		t.Skip(mkfs[0] + " is not installed")
	}
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs[0], append(mkfs[1:], image)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", mkfs, err, out)
	}
	folder = t.TempDir()
	mount(t, folder, "-o", strings.Trim("loop,"+options, ","), image, folder)
	out, err := exec.Command("findmnt", "-no", "SOURCE", folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	return folder, strings.TrimSpace(string(out))
}

func mount(t testing.TB, folder string, args ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Skipf("mounting is not permitted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}

// FailReadOnly makes a file system of Image, mounted with errors=remount-ro, read-only, as
// an error of its disk does. The test is skipped where that cannot be done.
func FailReadOnly(t testing.TB, device string) {
	t.Helper()
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Skip(err)
	}
}

// Fill takes the file system of a folder until left bytes are free, and returns what gives
// them back.
func Fill(t testing.TB, folder string, left int64) (drop func()) {
	t.Helper()
	path := filepath.Join(folder, "others")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for { // a file system takes some for its own books
		free := FreeBytes(t, folder) - left
		if free < 1<<16 {
			break
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for n := free; unix.Fallocate(int(f.Fd()), 0, info.Size(), n) != nil; n /= 2 {
			if n < 4096 {
				return func() { drops(t, path) }
			}
		}
	}
	return func() { drops(t, path) }
}

func drops(t testing.TB, path string) {
	t.Helper()
	// Some file systems free an unlinked file a moment later, a truncated one at once.
	if err := os.Truncate(path, 0); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Error(err)
	}
}

// FillInodes makes empty files until left inodes are free, and returns what removes them.
func FillInodes(t testing.TB, folder string, left int) (drop func()) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		t.Fatal(err)
	}
	others := filepath.Join(folder, "others-inodes")
	if err := os.Mkdir(others, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range int(st.Ffree) - 1 - left {
		if err := os.WriteFile(filepath.Join(others, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.RemoveAll(others); err != nil {
			t.Error(err)
		}
	}
}

// FreeBytes is what is free on the file system of a folder.
func FreeBytes(t testing.TB, folder string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * int64(st.Bsize)
}
