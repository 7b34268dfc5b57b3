//go:build linux

package local

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

// fixture opens a backend in dir for the conformance suite, made by reopen.
func fixture(t *testing.T, dir string, reopen func() *Backend) backendtest.Fixture {
	b := reopen()
	image := []byte("raw image, not a multiple of anything")
	if err := os.WriteFile(b.path("images", "tiny.raw"), image, 0o600); err != nil {
		t.Fatal(err)
	}
	current := b
	data := func(k backend.Key, flag int) (*os.File, error) {
		return os.OpenFile(filepath.Join(dir, "volumes", k.Ref, dataFile), flag, 0)
	}
	return backendtest.Fixture{
		Servers: theServers,
		Backend: b, Project: "default", Image: "tiny.raw", ImageBytes: image,
		Settle: func(ctx context.Context) error { return waitJobs(ctx, current) },
		WriteVolume: func(k backend.Key, off int64, p []byte) error {
			f, err := data(k, os.O_WRONLY)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(p, off)
			return err
		},
		ReadVolume: func(k backend.Key, off int64, n int) ([]byte, error) {
			f, err := data(k, os.O_RDONLY)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			p := make([]byte, n)
			_, err = f.ReadAt(p, off)
			return p, err
		},
		Reopen: func() backend.Backend {
			if err := current.Close(); err != nil {
				t.Fatal(err)
			}
			current = reopen()
			return current
		},
	}
}

func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backendtest.Fixture {
		dir := t.TempDir()
		return fixture(t, dir, func() *Backend { return open(t, served(t, Options{Dir: dir})) })
	})
}

func TestConformanceOnXFSWithReflink(t *testing.T) {
	mnt := xfs(t, 8*gib)
	backendtest.Run(t, func(t *testing.T) backendtest.Fixture {
		dir, err := os.MkdirTemp(mnt, "data")
		if err != nil {
			t.Fatal(err)
		}
		return fixture(t, dir, func() *Backend { return open(t, served(t, Options{Dir: dir})) })
	})
}

// TestConformanceOnTmpfs is without NBD too.
func TestConformanceOnTmpfs(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("no tmpfs at /dev/shm")
	}
	backendtest.Run(t, func(t *testing.T) backendtest.Fixture {
		dir, err := os.MkdirTemp("/dev/shm", "blockconsole-test")
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return fixture(t, dir, func() *Backend { return open(t, Options{Dir: dir}) })
	})
}
