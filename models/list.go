package models

import (
	"slices"
	"strconv"
	"strings"
)

// ListSummary is what a list page shows beside its rows. Times are Unix microseconds.
type ListSummary struct {
	Total       int64   // number of rows of the unfiltered list
	SeenAt      int64   // time of the last complete resync; 0: never
	FailedSince int64   // 0: the last resync succeeded
	Failure     Failure // why it failed
	LastChange  int64   // Change.Seq, number of the newest change: live updates start after it
}

// DefaultSort is newest first.
const DefaultSort = "-created_at"

// PageSizes are the choices of rows per page.
var PageSizes = []int{20, 50, 100, 200}

// DefaultPageSize is the number of rows per page without ?size=.
const DefaultPageSize = 50

// Sorts returns the values of ?sort= of the list of a kind; a leading dash makes one
// descending.
func Sorts(kind SubjectType) []string {
	sorts := []string{"created_at", "name", "size", "status"}
	if kind == SubjectSnapshot {
		return append(sorts, "taken_at")
	}
	return sorts
}

// ParseSort returns sort when it is one of Sorts in either direction, else DefaultSort
// and false.
func ParseSort(kind SubjectType, sort string) (string, bool) {
	if sort == "" {
		return DefaultSort, true
	}
	if !slices.Contains(Sorts(kind), strings.TrimPrefix(sort, "-")) {
		return DefaultSort, false
	}
	return sort, true
}

// ParsePageSize returns the typed page size when it is one of PageSizes, else the next
// larger one and false.
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

// ErrCursor is the error of a cursor that does not belong to the list.
var ErrCursor = &Error{Code: CodeInvalid, Text: NewText("list.first_page")}

// ListQuery is the state of a list, as its URL has it.
type ListQuery struct {
	Search   string // part of the name, or a full id
	Status   Status
	VolumeID string // snapshots of this volume
	ServerID string // objects attached to this server
	Project  string // objects of this project, where several are shown
	Locked   bool   // only what is locked now
	Sort     string // see ParseSort
	Size     int    // rows per page
	After    string // cursor; at most one of After and Before is set
	Before   string
	// AsOf is the number of the newest change, when the caller has just read it: a cached page of that moment is
	// good enough. 0: unknown.
	AsOf int64
}

// Filtered reports whether q may leave rows out.
func (q ListQuery) Filtered() bool {
	return q.Search != "" || q.Status != "" || q.VolumeID != "" || q.ServerID != "" || q.Project != "" || q.Locked
}

// Page is one page of a list. Next and Previous are cursors, empty at the ends.
type Page[T any] struct {
	Rows           []T
	Next, Previous string
}

// CountLimit is the number of rows up to which filtered totals are exact.
const CountLimit = 1000
