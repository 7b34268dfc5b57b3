package openstacktest

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// row is an object in a listing.
type row struct {
	id      string
	columns func(name string) (any, bool) // by sort key; false: unknown
	values  []any                         // of the sort keys
	render  func(detail bool) map[string]any
}

// listing is the paging of a request.
type listing struct {
	collection, kind string // volumes, Volume
	limit, offset    int    // numbers of objects; limit -1: none in the request
	keys, dirs       []string
	marker           *row
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// parsePaging reads limit, offset and sort, and removes them and marker from the filters.
func (cl *call) parsePaging(filters url.Values, collection, kind string) (*listing, error) {
	l := &listing{collection: collection, kind: kind, limit: -1}
	for _, name := range []string{"limit", "offset"} {
		if !filters.Has(name) {
			continue
		}
		n, err := strconv.Atoi(filters.Get(name))
		if err != nil {
			return nil, faultf(http.StatusBadRequest, "%s param must be an integer", name)
		}
		if n < 0 {
			return nil, faultf(http.StatusBadRequest, "%s param must be positive", name)
		}
		if name == "limit" {
			l.limit = n
		} else {
			l.offset = n
		}
	}
	sort := filters.Get("sort")
	if sort == "" && filters.Has("sort_key") {
		sort = filters.Get("sort_key") + ":" + cmp.Or(filters.Get("sort_dir"), "desc")
	}
	if sort == "" {
		sort = "created_at:desc"
	}
	for _, part := range strings.Split(sort, ",") {
		key, dir, found := strings.Cut(strings.TrimSpace(part), ":")
		if !found {
			dir = "desc"
		}
		if key == "name" {
			key = "display_name"
		}
		l.keys, l.dirs = append(l.keys, key), append(l.dirs, dir)
	}
	for _, key := range []string{"created_at", "id"} {
		if !slices.Contains(l.keys, key) {
			l.keys, l.dirs = append(l.keys, key), append(l.dirs, l.dirs[0])
		}
	}
	for _, name := range []string{"limit", "offset", "marker", "sort", "sort_key", "sort_dir"} {
		filters.Del(name)
	}
	return l, nil
}

// page sorts rows and cuts the requested page; more says that a link to the next page,
// which may be empty, belongs to it.
func (c *Cloud) page(l *listing, rows []*row) (items []*row, more bool, err error) {
	for i, dir := range l.dirs {
		if dir != "asc" && dir != "desc" {
			return nil, false, faultf(http.StatusBadRequest, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'.")
		}
		if len(rows) == 0 {
			continue
		}
		if _, known := rows[0].columns(l.keys[i]); !known {
			return nil, false, faultf(http.StatusBadRequest, "Invalid input received: Invalid sort key")
		}
	}
	for _, r := range rows {
		l.readValues(r)
	}
	slices.SortFunc(rows, l.compare)
	if l.marker != nil {
		l.readValues(l.marker)
		rows = rows[firstAfter(rows, func(r *row) bool { return l.compare(r, l.marker) > 0 }):]
	}
	rows = rows[min(l.offset, len(rows)):]
	limit := c.opts.MaxPageSize
	if l.limit >= 0 {
		limit = min(l.limit, limit)
	}
	rows = rows[:min(limit, len(rows))]
	return rows, limit > 0 && len(rows) == limit, nil
}

func firstAfter(rows []*row, after func(*row) bool) int {
	if i := slices.IndexFunc(rows, after); i >= 0 {
		return i
	}
	return len(rows)
}

// readValues reads the sort keys of a row.
func (l *listing) readValues(r *row) {
	r.values = make([]any, len(l.keys))
	for i, key := range l.keys {
		r.values[i], _ = r.columns(key)
	}
}

func (l *listing) compare(a, b *row) int {
	for i := range l.keys {
		n := compareValues(a.values[i], b.values[i])
		if l.dirs[i] == "desc" {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return 0
}

// compareValues orders like MySQL: null first.
func compareValues(a, b any) int {
	switch x := a.(type) {
	case string:
		if y, is := b.(string); is {
			return cmp.Compare(x, y)
		}
	case int:
		if y, is := b.(int); is {
			return cmp.Compare(x, y)
		}
	case time.Time:
		if y, is := b.(time.Time); is {
			return x.Compare(y)
		}
	}
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	}
	return 1
}

// nextLink is the link to the page after items, with the request's other parameters.
func (cl *call) nextLink(base string, items []*row) []any {
	values := cl.raw.URL.Query()
	values.Del("marker")
	encoded := values.Encode()
	if encoded != "" {
		encoded += "&"
	}
	href := base + cl.raw.URL.Path + "?" + encoded + "marker=" + items[len(items)-1].id
	return []any{map[string]any{"rel": "next", "href": href}}
}

// pageResponse renders one page of a Cinder collection.
func (c *Cloud) pageResponse(cl *call, l *listing, rows []*row, detail, count bool) (response, error) {
	total := len(rows)
	items, more, err := c.page(l, rows)
	if err != nil {
		return response{}, err
	}
	list := make([]any, len(items))
	for i, r := range items {
		list[i] = r.render(detail)
	}
	body := map[string]any{l.collection: list}
	if more {
		body[l.collection+"_links"] = cl.nextLink(c.server.URL, items)
	}
	if count {
		body["count"] = total
	}
	return okResponse(body), nil
}

// resourceFilters are those of Debian's resource_filters.json for Cinder.
var resourceFilters = map[string][]string{
	"volume": {"name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size", "created_at", "updated_at",
		"consumes_quota"},
	"snapshot": {"name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"},
	"message":  {"resource_uuid", "resource_type", "event_id", "request_id", "message_level"},
}

// checkFilters refuses unknown filters from 3.31 on; before that it drops them and the
// filters by time. Administrators may use any filter.
func (cl *call) checkFilters(filters url.Values, resource string) error {
	if cl.token.hasRole("admin") {
		return nil
	}
	filters.Del("all_tenants")
	var unknown []string
	for name := range filters {
		if !slices.Contains(resourceFilters[resource], name) || cl.minor < 31 && strings.HasSuffix(name, "ed_at") {
			unknown = append(unknown, name)
			filters.Del(name)
		}
	}
	if len(unknown) > 0 && cl.minor >= 31 {
		slices.Sort(unknown)
		return faultf(http.StatusBadRequest, "Invalid filters %s are found in query options.", strings.Join(unknown, ","))
	}
	return nil
}

// parseDict reads the filter metadata: a Python literal, {'key': 'value'}, or JSON; nil
// when it is neither.
func parseDict(s string) map[string]string {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") {
		return nil
	}
	made := map[string]string{}
	for rest := strings.TrimSpace(s[1 : len(s)-1]); rest != ""; {
		key, after, found := parseQuoted(rest)
		after, colon := strings.CutPrefix(strings.TrimSpace(after), ":")
		value, end, foundValue := parseQuoted(strings.TrimSpace(after))
		if !found || !colon || !foundValue {
			return nil
		}
		made[key] = value
		rest = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(end), ","))
	}
	return made
}

// parseQuoted reads a string in single or double quotes at the beginning of s.
func parseQuoted(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == s[0]:
			return b.String(), s[i+1:], true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", s, false
}

// containsAll says whether m contains want.
func containsAll(m, want map[string]string) bool {
	for key, value := range want {
		if got, there := m[key]; !there || got != value {
			return false
		}
	}
	return true
}

// timeFilter reads a filter such as gt:2026-01-01T00:00:00,lt:...
func timeFilter(name, text string) (func(time.Time) bool, error) {
	var tests []func(time.Time) bool
	for _, part := range strings.Split(text, ",") {
		operator, value, _ := strings.Cut(part, ":")
		if !slices.Contains([]string{"gt", "gte", "eq", "neq", "lt", "lte"}, operator) {
			return nil, faultf(http.StatusBadRequest, "Invalid %s operator", operator)
		}
		at, err := parseTime(value)
		if err != nil {
			return nil, faultf(http.StatusBadRequest, "Invalid %s value", value)
		}
		tests = append(tests, func(t time.Time) bool {
			n := t.Compare(at)
			switch operator {
			case "gt":
				return n > 0
			case "gte":
				return n >= 0
			case "lt":
				return n < 0
			case "lte":
				return n <= 0
			case "eq":
				return n == 0
			}
			return n != 0
		})
	}
	return func(t time.Time) bool {
		return !t.IsZero() && !slices.ContainsFunc(tests, func(test func(time.Time) bool) bool { return !test(t) })
	}, nil
}

func parseTime(s string) (time.Time, error) {
	var err error
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02T15:04", "2006-01-02"} {
		t, e := time.Parse(layout, s)
		if e == nil {
			return t.UTC(), nil
		}
		err = e
	}
	return time.Time{}, err
}
