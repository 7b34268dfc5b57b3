package openstacktest

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// objects are the objects of a Cinder collection.
type objects[T any] struct {
	collection, kind string // volumes, Volume
	all              map[string]*T
	get              func(cl *call, id string) (*T, error)
	row              func(*call, *T) *row
	task             func(*T) *task
	metadataMinor    int // before this microversion the filter metadata is ignored
	matcher          matcher[T]
}

// listObjects answers GET of a collection or its /detail.
func listObjects[T any](c *Cloud, cl *call, path []string, o objects[T]) (response, error) {
	filters, detail := cl.query, len(path) == 2
	marker := filters.Get("marker")
	l, err := cl.parsePaging(filters, o.collection, o.kind)
	if err != nil {
		return response{}, err
	}
	count := cl.minor >= 45 && parseBool(filters.Get("with_count"))
	if cl.minor >= 45 {
		filters.Del("with_count")
	}
	if err := cl.checkFilters(filters, strings.ToLower(o.kind)); err != nil {
		return response{}, err
	}
	if cl.minor < o.metadataMinor {
		filters.Del("metadata")
	}
	matches, err := o.matcher.filter(cl, filters)
	if err != nil {
		return response{}, err
	}
	if marker != "" {
		object, err := o.get(cl, marker)
		if err != nil {
			return response{}, err
		}
		l.marker = o.row(cl, object)
	}
	for _, object := range o.all {
		if filters.Has("metadata") && matches(object) {
			o.task(object).poll() // a search for one object counts as a poll
		}
	}
	rows := []*row{}
	for _, object := range o.all {
		if matches(object) {
			rows = append(rows, o.row(cl, object))
		}
	}
	return c.pageResponse(cl, l, rows, detail, count)
}

// matcher reads what filters compare.
type matcher[T any] struct {
	project  func(*T) string
	metadata func(*T) map[string]string
	times    func(*T) map[string]time.Time // by filter; nil: there are none
	matches  func(o *T, name, value string) bool
}

// filter is the predicate of a listing's filters.
func (m matcher[T]) filter(cl *call, filters url.Values) (func(*T) bool, error) {
	tests := []func(*T) bool{inProjects(cl, filters, m.project)}
	for name := range filters {
		value := filters.Get(name)
		switch {
		case name == "all_tenants":
		case m.times != nil && (name == "created_at" || name == "updated_at"):
			passes, err := timeFilter(name, value)
			if err != nil {
				return nil, err
			}
			tests = append(tests, func(o *T) bool { return passes(m.times(o)[name]) })
		case name == "metadata":
			want := parseDict(value)
			tests = append(tests, func(o *T) bool { return want != nil && containsAll(m.metadata(o), want) })
		default:
			tests = append(tests, func(o *T) bool { return m.matches(o, name, value) })
		}
	}
	return func(o *T) bool {
		return !slices.ContainsFunc(tests, func(test func(*T) bool) bool { return !test(o) })
	}, nil
}

// inProjects limits a listing to the caller's project, or for an administrator's
// all_tenants to project_id, if any.
func inProjects[T any](cl *call, filters url.Values, project func(T) string) func(T) bool {
	if cl.token.hasRole("admin") && parseBool(filters.Get("all_tenants")) {
		only := filters.Get("project_id")
		filters.Del("project_id")
		return func(o T) bool { return only == "" || project(o) == only }
	}
	return func(o T) bool { return project(o) == cl.token.project.ID }
}
