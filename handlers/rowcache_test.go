package handlers

import (
	"context"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/a-h/templ"

	"blockconsole/models"
	"blockconsole/views/i18n"
)

// TestRowCache_Full: at its limit the cache drops what has not been used for the
// longest time, and keeps the rest.
func TestRowCache_Full(t *testing.T) {
	cache := NewRowCache()
	rendered := map[int]int{}
	get := func(row int) {
		t.Helper()
		html, err := cache.get(t.Context(), strconv.Itoa(row), row, string(models.Available), func() templ.Component {
			return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
				rendered[row]++
				_, err := io.WriteString(w, strconv.Itoa(row))
				return err
			})
		})
		if err != nil || string(html) != strconv.Itoa(row) {
			t.Fatalf("row %d is %q, error %v", row, html, err)
		}
	}
	const rows, recent = 2 * maxCachedRows, 2*maxCachedRows - maxCachedRows/2
	for row := range rows {
		get(row)
		get(0)
	}
	get(recent)
	get(1)
	if rendered[0] != 1 || rendered[recent] != 1 {
		t.Errorf("rows in use were rendered %d and %d times", rendered[0], rendered[recent])
	}
	if rendered[1] != 2 {
		t.Errorf("the oldest row was rendered %d times: the cache has no limit", rendered[1])
	}
}

// TestRowCache_Key: a row is cached by its language, and not while it is on its way.
func TestRowCache_Key(t *testing.T) {
	cache := NewRowCache()
	rendered := 0
	for _, status := range []models.Status{models.Available, models.Creating} {
		for range 2 {
			for _, lang := range []string{"ko", "en"} {
				_, err := cache.get(i18n.WithLang(t.Context(), lang), "id", "row", string(status), func() templ.Component {
					rendered++
					return templ.NopComponent
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if rendered != 2+4 {
		t.Errorf("rendered %d times", rendered)
	}
}

// BenchmarkRowCache gets the 50 rows of a page that is in the cache.
func BenchmarkRowCache(b *testing.B) {
	cache := NewRowCache()
	ctx := rowContext(i18n.WithLang(b.Context(), "ko"), &Site{Now: time.Now, TimeZone: "Asia/Seoul"})
	rows := make([]models.Snapshot, 50)
	for i := range rows {
		rows[i] = models.Snapshot{ID: models.NewID(), Name: "snapshot-" + strconv.Itoa(i), Status: models.Available, SizeGiB: i, VolumeID: models.NewID(), VolumeName: "volume"}
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := renderRows(ctx, rows, models.Rules{}, nil, cache.snapshot); err != nil {
				b.Error(err)
			}
		}
	})
}
