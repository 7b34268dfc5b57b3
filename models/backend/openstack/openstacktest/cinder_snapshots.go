package openstacktest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func join(words []string) string { return strings.Join(words, ", ") }

// listSnapshots answers GET /snapshots and /snapshots/detail.
func (c *Cloud) listSnapshots(cl *call, path []string) (answer, error) {
	filters, detail := cl.query, len(path) == 2
	marker := filters.Get("marker")
	l, err := cl.paging(filters, "snapshots", "Snapshot")
	if err != nil {
		return answer{}, err
	}
	count := cl.minor >= 45 && boolOf(filters.Get("with_count"))
	if cl.minor >= 45 {
		filters.Del("with_count")
	}
	if err := cl.checkFilters(filters, "snapshot"); err != nil {
		return answer{}, err
	}
	if cl.minor < 22 {
		filters.Del("metadata")
	}
	if marker != "" {
		s, err := c.snapshot(cl, marker)
		if err != nil {
			return answer{}, err
		}
		l.marker = c.snapshotRow(cl, s)
	}
	matches := c.snapshotFilter(cl, filters)
	rows := []*row{}
	for _, s := range c.snapshots {
		if filters.Has("metadata") && matches(s) {
			s.task.look() // who looks for one object does look at it
		}
	}
	for _, s := range c.snapshots {
		if matches(s) {
			rows = append(rows, c.snapshotRow(cl, s))
		}
	}
	return c.answerPage(cl, l, rows, detail, count)
}

func (c *Cloud) snapshotFilter(cl *call, filters url.Values) func(*snapshot) bool {
	tests := []func(*snapshot) bool{inProjects(cl, filters, func(s *snapshot) string { return s.project })}
	for name := range filters {
		value := filters.Get(name)
		switch name {
		case "all_tenants":
		case "metadata":
			want := dictionary(value)
			tests = append(tests, func(s *snapshot) bool { return want != nil && hasAll(s.metadata, want) })
		default:
			tests = append(tests, func(s *snapshot) bool { return c.snapshotHas(s, name, value) })
		}
	}
	return func(s *snapshot) bool {
		return !slices.ContainsFunc(tests, func(test func(*snapshot) bool) bool { return !test(s) })
	}
}

func (c *Cloud) snapshotHas(s *snapshot, name, value string) bool {
	switch name {
	case "name", "display_name":
		return plain(s.name) == value && s.name != nil
	case "status":
		return s.status == value
	case "volume_id":
		return s.volume == value
	case "id":
		return s.id == value
	case "consumes_quota":
		return boolOf(value)
	}
	v := c.volumes[s.volume]
	return v != nil && (name == "availability_zone" || name == "host") && volumeHas(v, name, value)
}

func (c *Cloud) snapshotRow(cl *call, s *snapshot) *row {
	columns := func(name string) (any, bool) {
		switch name {
		case "id":
			return s.id, true
		case "created_at":
			return s.created, true
		case "updated_at":
			return s.updated, true
		case "display_name":
			return pointed(s.name), true
		case "status":
			return s.status, true
		case "volume_size":
			return s.size, true
		case "volume_id":
			return s.volume, true
		case "project_id":
			return s.project, true
		}
		return nil, false
	}
	return &row{id: s.id, columns: columns, render: func(detail bool) map[string]any { return c.snapshotView(cl, s, detail, true) }}
}

// snapshotView is a snapshot; extended adds what only objects that are read tell.
func (c *Cloud) snapshotView(cl *call, s *snapshot, detail, extended bool) map[string]any {
	view := map[string]any{
		"id": s.id, "created_at": naive(s.created), "updated_at": naive(s.updated), "name": pointed(s.name), "description": pointed(s.description),
		"volume_id": s.volume, "status": s.status, "size": s.size, "metadata": cloned(s.metadata),
	}
	if !detail {
		return view
	}
	if cl.minor >= 14 {
		view["group_snapshot_id"] = nil
	}
	if cl.minor >= 41 {
		view["user_id"] = s.user
	}
	if cl.minor >= 65 {
		view["consumes_quota"] = true
	}
	if extended {
		view["os-extended-snapshot-attributes:project_id"] = s.project
		view["os-extended-snapshot-attributes:progress"] = s.progress
	}
	return view
}

// showSnapshot answers GET /snapshots/{id}, and is a look at what is under way.
func (c *Cloud) showSnapshot(cl *call, path []string) (answer, error) {
	s, err := c.snapshot(cl, path[1])
	if err != nil {
		return answer{}, err
	}
	s.task.look()
	if s, err = c.snapshot(cl, path[1]); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"snapshot": c.snapshotView(cl, s, true, true)}), nil
}

// updateSnapshot answers PUT /snapshots/{id}, which works in every status.
func (c *Cloud) updateSnapshot(cl *call, path []string) (answer, error) {
	part := cl.part("snapshot")
	if err := onlyKeys("snapshot", part, "name", "description", "display_name", "display_description"); err != nil {
		return answer{}, err
	}
	if len(part) == 0 {
		return answer{}, invalid("snapshot", map[string]any{}, "{} is not valid under any of the given schemas")
	}
	name, named, err := c.textField(part, "name", ofSnapshot)
	if err != nil {
		return answer{}, err
	}
	description, described, err := c.textField(part, "description", ofSnapshot)
	if err != nil {
		return answer{}, err
	}
	s, err := c.snapshot(cl, path[1])
	if err != nil {
		return answer{}, err
	}
	if err := c.writes(cl, "volume:update_snapshot"); err != nil {
		return answer{}, err
	}
	if named {
		s.name = name
	}
	if described {
		s.description = description
	}
	view := c.snapshotView(cl, s, true, false) // with the old time, as Cinder has it
	s.updated = c.stamp()
	return ok(map[string]any{"snapshot": view}), nil
}

// deleteSnapshot answers DELETE /snapshots/{id}.
func (c *Cloud) deleteSnapshot(cl *call, path []string) (answer, error) {
	s, err := c.snapshot(cl, path[1])
	if err != nil {
		return answer{}, err
	}
	if err := c.writes(cl, "volume:delete_snapshot"); err != nil {
		return answer{}, err
	}
	if s.status != "available" && s.status != "error" {
		return answer{}, fault(http.StatusBadRequest, "Invalid snapshot: Snapshot status must be available or error and must not be part of a group.")
	}
	c.startSnapshotDeletion(cl, s)
	return accepted(), nil
}

// startSnapshotDeletion deletes, fails, or gives up where clones keep the
// snapshot.
func (c *Cloud) startSnapshotDeletion(cl *call, s *snapshot) {
	request := cl.id
	s.status, s.updated = "deleting", c.stamp()
	s.task = c.begin(DeleteSnapshot, func() {
		if c.opts.BusySnapshots && c.hasClones(s.id) {
			c.snapshotRests(s, "available")
			c.tell(s.project, "VOLUME_SNAPSHOT", s.id, "VOLUME_VOLUME_SNAPSHOT_010_015", "delete snapshot:Snapshot is busy.", request)
			return
		}
		delete(c.snapshots, s.id)
	}, func() {
		c.snapshotRests(s, "error_deleting")
		c.tell(s.project, "VOLUME_SNAPSHOT", s.id, "VOLUME_VOLUME_SNAPSHOT_010_016", "delete snapshot:Snapshot failed to delete.", request)
	})
}

func (c *Cloud) hasClones(snapshot string) bool {
	for _, v := range c.volumes {
		if v.snapshot == snapshot {
			return true
		}
	}
	return false
}

var snapshotStatuses = []string{"error", "available", "creating", "deleting", "deleted", "updating", "error_deleting", "unmanaging", "backing-up", "restoring"}

// actOnSnapshot answers POST /snapshots/{id}/action.
func (c *Cloud) actOnSnapshot(cl *call, path []string) (answer, error) {
	const policy = "volume_extension:snapshot_admin_actions:"
	switch {
	case cl.body["os-reset_status"] != nil:
		status := strings.ToLower(text(cl.body, "os-reset_status", "status"))
		if !slices.Contains(snapshotStatuses, status) {
			return answer{}, fault(http.StatusBadRequest, "Snapshot status: %s is invalid, valid statuses are: ('%s').", status, strings.Join(snapshotStatuses, "', '"))
		}
		s, err := c.snapshot(cl, path[1])
		if err != nil {
			return answer{}, err
		}
		if err := cl.administers(policy + "reset_status"); err != nil {
			return answer{}, err
		}
		s.status, s.updated, s.task = status, c.stamp(), nil
	case cl.has("os-force_delete"):
		s, err := c.snapshot(cl, path[1])
		if err != nil {
			return answer{}, err
		}
		if err := cl.administers(policy + "force_delete"); err != nil {
			return answer{}, err
		}
		c.startSnapshotDeletion(cl, s)
	default:
		return answer{}, noAction(cl)
	}
	return answer{status: http.StatusAccepted}, nil
}

func (cl *call) has(key string) bool {
	_, there := cl.body[key]
	return there
}

func noAction(cl *call) error {
	for name := range cl.body {
		return fault(http.StatusBadRequest, "There is no such action: %s. Verify the request body and Content-Type header and try again.", name)
	}
	return fault(http.StatusBadRequest, "Malformed request body")
}
