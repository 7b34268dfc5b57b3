package models

import (
	"slices"
	"strconv"
	"strings"
)

// ListSummary is what a list page says beside its rows.
type ListSummary struct {
	Total       int64   // rows of the unfiltered list
	SeenAt      int64   // when the backend was read last; 0: never
	FailedSince int64   // since when it cannot be read; 0: it can
	Failure     Failure // why
	LastChange  int64   // the newest change when the page was made: live news begin after it
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

// ErrCursor says that ?after= or ?before= is not a place in this list.
var ErrCursor = &Error{Code: CodeInvalid, Text: NewText("list.first_page")}

// ListQuery is the state of a list: everything that its URL holds.
type ListQuery struct {
	Search   string // part of the name, or a full id
	Status   Status
	VolumeID string // snapshots of this volume
	ServerID string // volumes attached to this server
	Project  string // objects of this project, where several are shown
	Sort     string // normal, see ParseSort
	Size     int    // rows of a page
	After    string // cursors; at most one of them
	Before   string
	// AsOf is the number of a change that the caller has just read as the newest: a page of that moment is good
	// enough. 0: it is asked.
	AsOf int64
}

// Filtered says that not all rows are asked for.
func (q ListQuery) Filtered() bool {
	return q.Search != "" || q.Status != "" || q.VolumeID != "" || q.ServerID != "" || q.Project != ""
}

// Page is one page of a list. Next and Previous are cursors, empty at the ends.
type Page[T any] struct {
	Rows           []T
	Next, Previous string
}

// CountLimit is how far filtered totals are exact.
const CountLimit = 1000
