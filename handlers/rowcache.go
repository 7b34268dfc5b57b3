package handlers

import (
	"bytes"
	"context"
	"sync"

	"github.com/a-h/templ"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// RowCache keeps rows as they were rendered. Its keys are the language and the row
// itself: equal rows render to equal bytes, so an entry is never stale and
// whoever looks shares it.
type RowCache struct {
	mu   sync.RWMutex
	rows map[rowKey][]byte
}

type rowKey struct {
	language string
	row      any
}

const maxCachedRows = 20_000

// get returns the row's HTML. Rows on their way somewhere show how long that has
// lasted, so they are rendered each time.
func (r *RowCache) get(ctx context.Context, row any, status string, render func() templ.Component) ([]byte, error) {
	key := rowKey{i18n.Lang(ctx), row}
	lasting := !models.Status(status).InTransition()
	if lasting {
		r.mu.RLock()
		html, ok := r.rows[key]
		r.mu.RUnlock()
		if ok {
			return html, nil
		}
	}
	var b bytes.Buffer
	if err := render().Render(ctx, &b); err != nil {
		return nil, err
	}
	if lasting {
		r.put(key, b.Bytes())
	}
	return b.Bytes(), nil
}

func (r *RowCache) put(key rowKey, html []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil || len(r.rows) >= maxCachedRows {
		r.rows = make(map[rowKey][]byte, maxCachedRows/4)
	}
	r.rows[key] = html
}

// rowContext is the context that rows are rendered in: of the frame only what is
// the same for everybody.
func rowContext(ctx context.Context, site *Site) context.Context {
	return views.WithFrame(ctx, &views.Frame{TimeZone: site.TimeZone, Now: site.Now().UnixMicro()})
}

// snapshot renders a row of the Block Snapshot list, in a rowContext.
func (r *RowCache) snapshot(ctx context.Context, s *models.Snapshot, rules models.Rules, projects projectNames) (views.RenderedRow, error) {
	row := snapshotRow(s, rules, projects)
	html, err := r.get(ctx, row, row.Status, func() templ.Component { return views.SnapshotRowHTML(row) })
	return views.RenderedRow{ID: row.ID, HTML: html}, err
}

// volume renders a row of the Volume list, in a rowContext.
func (r *RowCache) volume(ctx context.Context, v *models.Volume, rules models.Rules, projects projectNames) (views.RenderedRow, error) {
	row := volumeRow(v, rules, projects)
	html, err := r.get(ctx, row, row.Status, func() templ.Component { return views.VolumeRowHTML(row) })
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
