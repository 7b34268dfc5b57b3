package checksum

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Keep is how many numbers of blocks that differ are kept.
const Keep = 8

// Result is what a comparison found.
type Result struct {
	Bad   int64   // number of blocks that differ or cannot be read
	First []int64 // the numbers of the first of them, at most Keep
}

// add counts a block that differs.
func (r *Result) add(block int64) {
	r.Bad++
	i, _ := slices.BinarySearch(r.First, block)
	r.First = slices.Insert(r.First, i, block)
	r.First = r.First[:min(len(r.First), Keep)]
}

// Compare reads all blocks of d with so many workers and compares them with the sums. A
// block that the disk cannot read counts as one that differs. Its error is that of ctx, of
// another disk's refusal, or of Before and After, which several workers may call at once.
func (s *Sums) Compare(ctx context.Context, d Data, workers int) (Result, error) {
	var (
		found Result
		mu    sync.Mutex
		next  atomic.Int64
	)
	group, ctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error {
			r := newReader(d)
			for {
				block := next.Add(1) - 1
				if block >= s.blocks() {
					return nil
				}
				same, err := s.compareBlock(ctx, r, block)
				if err != nil {
					return err
				}
				if !same {
					mu.Lock()
					found.add(block)
					mu.Unlock()
				}
			}
		})
	}
	return found, group.Wait()
}

// Differ returns which of the blocks differ in d.
func (s *Sums) Differ(ctx context.Context, d Data, blocks []int64) ([]int64, error) {
	var bad []int64
	for _, block := range blocks {
		same, err := s.compareBlock(ctx, newReader(d), block)
		if err != nil {
			return nil, err
		}
		if !same {
			bad = append(bad, block)
		}
	}
	return bad, nil
}

func (s *Sums) compareBlock(ctx context.Context, r *reader, block int64) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	want, err := s.at(block)
	if err != nil {
		return false, err
	}
	have, err := r.block(block * BlockBytes)
	if errors.Is(err, syscall.EIO) {
		return false, nil
	}
	return have == want, err
}
