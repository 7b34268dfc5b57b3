package store

import (
	"context"
	"sync"

	"blockconsole/models"
)

// maxCachedPages bounds the memory of a page cache; a page has at most 200 rows.
const maxCachedPages = 64

// pageCache keeps pages of a list as they were read, for as long as nothing at all
// has changed: most visits of a console are looks at what the last visitor saw.
// The number of the newest change, which triggers write in the transaction of the
// change itself, tells.
type pageCache[T any] struct {
	mu    sync.Mutex
	seq   int64 // the pages were read when this was the newest change, or later
	pages map[pageKey]models.Page[T]
}

type pageKey struct {
	project string
	query   models.ListQuery
}

// cached returns the page from the cache, or reads it. Its rows are shared by all
// who ask: they must not be changed.
func cached[T any](ctx context.Context, s *Store, cache *pageCache[T], project string, q models.ListQuery, read func() (models.Page[T], error)) (models.Page[T], error) {
	if q.Size > models.PageSizes[len(models.PageSizes)-1] {
		return read() // an export passes once
	}
	seq := q.AsOf
	if seq == 0 {
		var err error
		if seq, err = s.LastChange(ctx); err != nil {
			return models.Page[T]{}, err
		}
	}
	q.AsOf = 0
	key := pageKey{project, q}
	if page, ok := cache.get(seq, key); ok {
		return page, nil
	}
	page, err := read()
	if err == nil {
		cache.put(seq, key, page)
	}
	return page, err
}

func (c *pageCache[T]) get(seq int64, key pageKey) (models.Page[T], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq != c.seq {
		return models.Page[T]{}, false
	}
	page, ok := c.pages[key]
	return page, ok
}

func (c *pageCache[T]) put(seq int64, key pageKey, page models.Page[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq < c.seq {
		return // read before what somebody else has cached
	}
	if seq > c.seq || len(c.pages) >= maxCachedPages {
		c.seq, c.pages = seq, map[pageKey]models.Page[T]{}
	}
	if c.pages == nil {
		c.pages = map[pageKey]models.Page[T]{}
	}
	c.pages[key] = page
}
