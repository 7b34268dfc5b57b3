package handlers

import (
	"bytes"
	"context"
	"hash/maphash"

	"github.com/a-h/templ"
	lru "github.com/hashicorp/golang-lru/v2"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// RowCache keeps rendered rows, the ones used last. The key is the language and the
// row itself: equal rows have equal HTML, so an entry is never stale and is shared by
// all who look. Rows are spread over shards by their id, since a look locks its
// shard.
type RowCache struct {
	seed   maphash.Seed
	shards [rowShards]*lru.Cache[rowKey, []byte]
}

type rowKey struct {
	language string
	row      any
}

const (
	rowShards     = 8
	maxCachedRows = 20_000 // some 40 MB: a row has about 2 kB
)

// NewRowCache makes an empty cache.
func NewRowCache() *RowCache {
	r := RowCache{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i], _ = lru.New[rowKey, []byte](maxCachedRows / rowShards) // fails for no size above zero
	}
	return &r
}

// get returns the row's HTML. A row in transition shows how long that has lasted, so
// it is rendered each time.
func (r *RowCache) get(ctx context.Context, id string, row any, status string, render func() templ.Component) ([]byte, error) {
	key, shard := rowKey{i18n.Lang(ctx), row}, r.shards[maphash.String(r.seed, id)%rowShards]
	stable := !models.Status(status).InTransition()
	if stable {
		if html, ok := shard.Get(key); ok {
			return html, nil
		}
	}
	var b bytes.Buffer
	if err := render().Render(ctx, &b); err != nil {
		return nil, err
	}
	if stable {
		shard.Add(key, b.Bytes())
	}
	return b.Bytes(), nil
}

// rowContext is the context to render rows in. It has only what is the same for all
// users.
func rowContext(ctx context.Context, site *Site) context.Context {
	return views.WithPageContext(ctx, &views.PageContext{TimeZone: site.TimeZone, Now: site.Now().UnixMicro()})
}

// snapshot renders a row of the Block Snapshot list, in a rowContext.
func (r *RowCache) snapshot(ctx context.Context, s *models.Snapshot, rules models.Rules, projects projectNames) (views.RenderedRow, error) {
	row := snapshotRow(s, rules, projects)
	html, err := r.get(ctx, row.ID, row, row.Status, func() templ.Component { return views.SnapshotTableRow(row) })
	return views.RenderedRow{ID: row.ID, HTML: html}, err
}

// volume renders a row of the Volume list, in a rowContext.
func (r *RowCache) volume(ctx context.Context, v *models.Volume, rules models.Rules, projects projectNames) (views.RenderedRow, error) {
	row := volumeRow(v, rules, projects)
	html, err := r.get(ctx, row.ID, row, row.Status, func() templ.Component { return views.VolumeTableRow(row) })
	return views.RenderedRow{ID: row.ID, HTML: html}, err
}

// renderRow renders one row of a list.
type renderRow[T any] func(ctx context.Context, row *T, rules models.Rules, projects projectNames) (views.RenderedRow, error)

func renderRows[T any](ctx context.Context, rows []T, rules models.Rules, projects projectNames, render renderRow[T]) ([]views.RenderedRow, error) {
	rendered := make([]views.RenderedRow, len(rows))
	for i := range rows {
		var err error
		if rendered[i], err = render(ctx, &rows[i], rules, projects); err != nil {
			return nil, err
		}
	}
	return rendered, nil
}
