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

// conformanceFixture runs the suite on backends that reopen opens in dir.
func conformanceFixture(t *testing.T, dir string, reopen func() *Backend) backendtest.Fixture {
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
		Servers: testServers,
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
	t.Parallel()
	backendtest.Run(t, func(t *testing.T) backendtest.Fixture {
		dir := t.TempDir()
		return conformanceFixture(t, dir, func() *Backend { return open(t, withNBD(t, Options{Dir: dir})) })
	})
}

func TestConformance_XFS(t *testing.T) {
	t.Parallel()
	mnt := xfs(t, 8*gib)
	backendtest.Run(t, func(t *testing.T) backendtest.Fixture {
		dir, err := os.MkdirTemp(mnt, "data")
		if err != nil {
			t.Fatal(err)
		}
		return conformanceFixture(t, dir, func() *Backend { return open(t, withNBD(t, Options{Dir: dir})) })
	})
}

// TestConformance_Tmpfs runs without NBD.
func TestConformance_Tmpfs(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("no tmpfs at /dev/shm")
	}
	backendtest.Run(t, func(t *testing.T) backendtest.Fixture {
		dir, err := os.MkdirTemp("/dev/shm", "blockconsole-test")
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return conformanceFixture(t, dir, func() *Backend { return open(t, Options{Dir: dir}) })
	})
}
