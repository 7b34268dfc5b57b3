package store_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"blockconsole/models"
	"blockconsole/models/store"
)

func FuzzCursor(f *testing.F) {
	f.Add("", "-created_at", "name", "id")
	f.Add("bmFtZR9pZB9rZXk", "name", "a\x1fb", "0190")
	f.Add("!", "size", "99999999999999999999", "id")
	f.Add("bmFtZR9pZB8A", "name", "\xff", "\x00")
	f.Fuzz(func(t *testing.T, text, sort, key, id string) {
		sort, _ = models.ParseSort(models.SubjectSnapshot, sort)
		if _, _, err := store.DecodeCursor(text, sort); err != nil && !errors.Is(err, models.ErrCursor) {
			t.Errorf("%+q: %v", text, err)
		}
		made := store.EncodeCursor(sort, key, id)
		gotKey, gotID, err := store.DecodeCursor(made, sort)
		if err != nil {
			return
		}
		if number, ok := gotKey.(int64); ok {
			if want, err := strconv.ParseInt(key, 10, 64); !strings.Contains(id, "\x1f") && (err != nil || number != want) {
				t.Errorf("%+q became %d, %v", key, number, err)
			}
		} else if gotID+"\x1f"+gotKey.(string) != id+"\x1f"+key || !utf8.ValidString(key) {
			// No id has the separator; with one the parts differ, but not the whole text.
			t.Errorf("%+q, %+q became %+q, %+q", key, id, gotKey, gotID)
		}
		other := "name"
		if sort == "name" {
			other = "-name"
		}
		if _, _, err := store.DecodeCursor(made, other); !errors.Is(err, models.ErrCursor) {
			t.Errorf("a cursor of %s opens %s: %v", sort, other, err)
		}
	})
}
