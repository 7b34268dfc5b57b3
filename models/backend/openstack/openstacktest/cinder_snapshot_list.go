package openstacktest

// listSnapshots answers GET /snapshots and /snapshots/detail.
func (c *Cloud) listSnapshots(cl *call, path []string) (response, error) {
	return listObjects(c, cl, path, objects[snapshot]{
		collection: "snapshots", kind: "Snapshot", all: c.snapshots, get: c.snapshot, row: c.snapshotRow, task: func(s *snapshot) *task { return s.task },
		metadataMinor: 22,
		matcher: matcher[snapshot]{
			project: func(s *snapshot) string { return s.project }, metadata: func(s *snapshot) map[string]string { return s.metadata },
			matches: c.snapshotMatches,
		},
	})
}

func (c *Cloud) snapshotMatches(s *snapshot, name, value string) bool {
	switch name {
	case "name", "display_name":
		return deref(s.name) == value && s.name != nil
	case "status":
		return s.status == value
	case "volume_id":
		return s.volume == value
	case "id":
		return s.id == value
	case "consumes_quota":
		return parseBool(value)
	}
	v := c.volumes[s.volume]
	return v != nil && (name == "availability_zone" || name == "host") && volumeMatches(v, name, value)
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
			return orNullPtr(s.name), true
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

// snapshotView is a snapshot in JSON; extended adds what is not in answers to creates and
// updates.
func (c *Cloud) snapshotView(cl *call, s *snapshot, detail, extended bool) map[string]any {
	view := map[string]any{
		"id": s.id, "created_at": cinderTime(s.created), "updated_at": cinderTime(s.updated), "name": orNullPtr(s.name), "description": orNullPtr(s.description),
		"volume_id": s.volume, "status": s.status, "size": s.size, "metadata": cloneMap(s.metadata),
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
