package store

import (
	"context"
	"sync"

	"blockconsole/models"
)

// maxCachedPages bounds the memory of a page cache; a page has at most 200 rows.
const maxCachedPages = 64

// pageCache keeps pages of a list until anything changes: most requests are for a page
// that was just read. The newest change, which triggers insert in the transaction of
// the change itself, tells whether a page is current.
type pageCache[T any] struct {
	mu    sync.Mutex
	seq   int64 // sequence number of the newest change when the pages were read
	pages map[pageKey]models.Page[T]
}

type pageKey struct {
	project string
	query   models.ListQuery
}

// cached returns the page from the cache, or reads and caches it. Callers share its
// rows and must not change them.
func cached[T any](ctx context.Context, s *Store, cache *pageCache[T], project string, q models.ListQuery, read func() (models.Page[T], error)) (models.Page[T], error) {
	if q.Size > models.PageSizes[len(models.PageSizes)-1] {
		return read() // an export reads each page once
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
		return // older than the cache
	}
	if seq > c.seq || len(c.pages) >= maxCachedPages {
		c.seq, c.pages = seq, map[pageKey]models.Page[T]{}
	}
	if c.pages == nil {
		c.pages = map[pageKey]models.Page[T]{}
	}
	c.pages[key] = page
}
