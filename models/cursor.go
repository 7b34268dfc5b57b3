package models

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// sortKey is a column that lists can be sorted by.
type sortKey struct {
	column string
	number bool
	least  int64 // idOf a number
	most   int64
}

var sortKeys = map[string]sortKey{
	"created_at": {column: "created_at", number: true, least: math.MinInt64, most: math.MaxInt64},
	"name":       {column: "name"},
	"size":       {column: "size_gib", number: true, least: math.MinInt32, most: math.MaxInt32},
	"status":     {column: "status"},
}

// DefaultSort is newest first.
const DefaultSort = "-created_at"

// PageSizes are the choices of rows per page.
var PageSizes = []int{20, 50, 100, 200}

// DefaultPageSize is the size of a page that does not say.
const DefaultPageSize = 50

// Sorts are the values of ?sort= without their direction.
var Sorts = []string{"created_at", "name", "size", "status"}

// ParseSort returns sort when lists know it, else DefaultSort and false.
func ParseSort(sort string) (string, bool) {
	if sort == "" {
		return DefaultSort, true
	}
	if !slices.Contains(Sorts, strings.TrimPrefix(sort, "-")) {
		return DefaultSort, false
	}
	return sort, true
}

// ParsePageSize returns the page size that was asked for; the nearest choice and
// false when it is none of PageSizes.
func ParsePageSize(typed string) (int, bool) {
	if typed == "" {
		return DefaultPageSize, true
	}
	n, err := strconv.Atoi(typed)
	if err != nil || n < 1 {
		return DefaultPageSize, false
	}
	if slices.Contains(PageSizes, n) {
		return n, true
	}
	for _, size := range PageSizes {
		if n < size {
			return size, false
		}
	}
	return PageSizes[len(PageSizes)-1], false
}

// cursor is a place in a list: the sort key and id of a row.
type cursor struct {
	key any
	id  string
}

// ErrCursor says that ?after= or ?before= is not a place in this list.
var ErrCursor = &Error{Code: CodeInvalid, Text: NewText("list.first_page")}

const cursorSeparator = "\x1f"

func encodeCursor(sort, key, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{sort, id, key}, cursorSeparator)))
}

// decodeCursor reads a cursor that was made for the same sort.
func decodeCursor(text, sort string) (cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) > 2000 {
		return cursor{}, ErrCursor
	}
	parts := strings.SplitN(string(raw), cursorSeparator, 3)
	if len(parts) != 3 || parts[0] != sort || parts[1] == "" {
		return cursor{}, ErrCursor
	}
	c := cursor{key: parts[2], id: parts[1]}
	if !utf8.Valid(raw) || strings.ContainsRune(string(raw), 0) { // PostgreSQL has neither in text
		return cursor{}, ErrCursor
	}
	by := sortKeys[strings.TrimPrefix(sort, "-")]
	if by.number {
		n, err := strconv.ParseInt(parts[2], 10, 64)
		if err != nil || n < by.least || n > by.most {
			return cursor{}, ErrCursor
		}
		c.key = n
	}
	return c, nil
}
