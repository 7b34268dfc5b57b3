package checksum

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// testSize ends in a block that is not whole.
const testSize = 5*BlockBytes + 12345

// noHoles is the NextData of a file system that hides holes.
func noHoles(_ *os.File, off, size int64) (int64, int64, error) {
	if off >= size {
		return 0, 0, io.EOF
	}
	return off, size, nil
}

// holeIn says that one block is a hole.
func holeIn(block int64) func(*os.File, int64, int64) (int64, int64, error) {
	return func(_ *os.File, off, size int64) (int64, int64, error) {
		start, end := block*BlockBytes, (block+1)*BlockBytes
		switch {
		case off < start:
			return off, start, nil
		case off < end:
			off = end
		}
		return noHoles(nil, off, size)
	}
}

// newFile makes a file of testSize with noise in all blocks but the second, which has
// zeroes.
func newFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	noise := make([]byte, testSize)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	clear(noise[BlockBytes : 2*BlockBytes])
	if _, err := f.Write(noise); err != nil {
		t.Fatal(err)
	}
	return f
}

// sumsOf writes and opens the checksum file of f.
func sumsOf(t *testing.T, f *os.File) *Sums {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "checksums"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	if err := Write(t.Context(), out, Data{File: f, Size: testSize, NextData: noHoles}, "me", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(out, "me", testSize)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func flip(t *testing.T, f *os.File, off int64) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func TestCompare_FlippedBits(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	s := sumsOf(t, f)
	data := Data{File: f, Size: testSize, NextData: noHoles}
	for _, workers := range []int{1, 3} {
		if got, err := s.Compare(t.Context(), data, workers); err != nil || got.Bad != 0 {
			t.Fatalf("nothing changed: %+v, %v", got, err)
		}
	}
	flip(t, f, BlockBytes)     // in the zeroes
	flip(t, f, 3*BlockBytes-1) // the last byte of a block
	flip(t, f, testSize-1)     // the last byte of all
	for _, workers := range []int{1, 3} {
		got, err := s.Compare(t.Context(), data, workers)
		if err != nil || got.Bad != 3 || !slices.Equal(got.First, []int64{1, 2, 5}) {
			t.Errorf("%d workers: %+v, %v", workers, got, err)
		}
	}
	if got, err := s.Differ(t.Context(), data, []int64{0, 2, 4}); err != nil || !slices.Equal(got, []int64{2}) {
		t.Errorf("differ: %v, %v", got, err)
	}
}

// TestCompare_Holes: a hole and written zeroes are the same bytes, and a hole in place of
// data is not.
func TestCompare_Holes(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	s := sumsOf(t, f)
	for block, want := range map[int64]int64{1: 0, 2: 1, 5: 1} {
		got, err := s.Compare(t.Context(), Data{File: f, Size: testSize, NextData: holeIn(block)}, 1)
		if err != nil || got.Bad != want {
			t.Errorf("block %d is a hole: %+v, %v", block, got, err)
		}
	}
}

// TestCompare_HolesInBlocks: the sums are the same however the file system tells of its
// holes, and a bit that flips between two of them is found.
func TestCompare_HolesInBlocks(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	data := []int64{3*BlockBytes + 4096, 3*BlockBytes + 8192, 3*BlockBytes + 500_000, 4*BlockBytes + 4096}
	if _, err := f.WriteAt(make([]byte, 2*BlockBytes), 3*BlockBytes); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(data); i += 2 {
		if _, err := f.WriteAt(bytes.Repeat([]byte{7}, int(data[i+1]-data[i])), data[i]); err != nil {
			t.Fatal(err)
		}
	}
	s := sumsOf(t, f)
	edges := append([]int64{0, 3 * BlockBytes}, append(data, 5*BlockBytes, testSize)...) // begin and end of each run of data
	told := func(_ *os.File, off, size int64) (int64, int64, error) {
		for i := 0; i < len(edges); i += 2 {
			if off < edges[i+1] {
				return max(off, edges[i]), edges[i+1], nil
			}
		}
		return 0, 0, io.EOF
	}
	for _, workers := range []int{1, 3} {
		if got, err := s.Compare(t.Context(), Data{File: f, Size: testSize, NextData: told}, workers); err != nil || got.Bad != 0 {
			t.Errorf("%d workers: %+v, %v", workers, got, err)
		}
	}
	flip(t, f, 3*BlockBytes+600_000)
	if got, err := s.Compare(t.Context(), Data{File: f, Size: testSize, NextData: told}, 2); err != nil || !slices.Equal(got.First, []int64{3}) {
		t.Errorf("flipped: %+v, %v", got, err)
	}
}

func TestCompare_KeepsTheFirst(t *testing.T) {
	t.Parallel()
	var r Result
	for block := int64(100); block > 0; block-- {
		r.add(block)
	}
	if r.Bad != 100 || !slices.Equal(r.First, []int64{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("%+v", r)
	}
}

func TestOpen_DamagedOrForeign(t *testing.T) {
	t.Parallel()
	s := sumsOf(t, newFile(t))
	whole, err := os.ReadFile(s.in.Name())
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func([]byte) []byte) []byte { return change(bytes.Clone(whole)) }
	for name, content := range map[string][]byte{
		"empty":        nil,
		"no header":    changed(func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }),
		"a sum":        changed(func(b []byte) []byte { b[s.first+40]++; return b }),
		"the time":     changed(func(b []byte) []byte { return bytes.Replace(b, []byte("1970"), []byte("1971"), 1) }),
		"its own sum":  changed(func(b []byte) []byte { b[len(b)-1]++; return b }),
		"shorter":      whole[:len(whole)-1],
		"longer":       changed(func(b []byte) []byte { return append(b, 0) }),
		"of another":   changed(func(b []byte) []byte { return bytes.Replace(b, []byte(`"me"`), []byte(`"it"`), 1) }),
		"other format": changed(func(b []byte) []byte { return bytes.Replace(b, []byte(`"format":1`), []byte(`"format":2`), 1) }),
	} {
		path := filepath.Join(t.TempDir(), "checksums")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if _, err := Open(in, "me", testSize); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(s.in, "me", testSize+1); !errors.Is(err, ErrDamaged) {
		t.Errorf("another size: %v", err)
	}
}

// TestWrite_Shrunk: a file that is shorter than it should be has no checksums.
func TestWrite_Shrunk(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	if err := f.Truncate(testSize - 1); err != nil {
		t.Fatal(err)
	}
	err := Write(context.Background(), io.Discard, Data{File: f, Size: testSize, NextData: noHoles}, "me", time.Now())
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}
