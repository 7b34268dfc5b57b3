package store

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"blockconsole/models"
)

// sortKey is a column that lists can be sorted by.
type sortKey struct {
	column string
	number bool
	min    int64 // of a number
	max    int64
}

var sortKeys = map[string]sortKey{
	"created_at": {column: "created_at", number: true, min: math.MinInt64, max: math.MaxInt64},
	"name":       {column: "name"},
	"size":       {column: "size_gib", number: true, min: math.MinInt32, max: math.MaxInt32},
	"status":     {column: "status"},
}

// cursor is a place in a list: the sort key and the id of a row.
type cursor struct {
	key any
	id  string
}

const cursorSeparator = "\x1f"

func encodeCursor(sort, key, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{sort, id, key}, cursorSeparator)))
}

// decodeCursor parses a cursor of a list with that sort; else models.ErrCursor.
func decodeCursor(text, sort string) (cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) > 2000 {
		return cursor{}, models.ErrCursor
	}
	parts := strings.SplitN(string(raw), cursorSeparator, 3)
	if len(parts) != 3 || parts[0] != sort || parts[1] == "" {
		return cursor{}, models.ErrCursor
	}
	c := cursor{key: parts[2], id: parts[1]}
	if !utf8.Valid(raw) || strings.ContainsRune(string(raw), 0) { // PostgreSQL accepts neither in text
		return cursor{}, models.ErrCursor
	}
	by := sortKeys[strings.TrimPrefix(sort, "-")]
	if by.number {
		n, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil || n < by.min || n > by.max {
			return cursor{}, models.ErrCursor
		}
		c.key = n
	}
	return c, nil
}
