package openstacktest

import (
	"net/http"
	"slices"
	"strings"
)

func join(words []string) string { return strings.Join(words, ", ") }

// showSnapshot answers GET /snapshots/{id} and counts as a poll.
func (c *Cloud) showSnapshot(cl *call, path []string) (response, error) {
	s, err := c.snapshot(cl, path[1])
	if err != nil {
		return response{}, err
	}
	s.task.poll()
	if s, err = c.snapshot(cl, path[1]); err != nil {
		return response{}, err
	}
	return okResponse(map[string]any{"snapshot": c.snapshotView(cl, s, true, true)}), nil
}

// updateSnapshot answers PUT /snapshots/{id}, which works in every status.
func (c *Cloud) updateSnapshot(cl *call, path []string) (response, error) {
	part := cl.part("snapshot")
	if err := onlyKeys("snapshot", part, "name", "description", "display_name", "display_description"); err != nil {
		return response{}, err
	}
	if len(part) == 0 {
		return response{}, invalid("snapshot", map[string]any{}, "{} is not valid under any of the given schemas")
	}
	texts, err := c.textFields(part, ofSnapshot)
	if err != nil {
		return response{}, err
	}
	s, err := c.snapshot(cl, path[1])
	if err != nil {
		return response{}, err
	}
	if err := c.checkWriter(cl, "volume:update_snapshot"); err != nil {
		return response{}, err
	}
	texts.set(&s.name, &s.description)
	view := c.snapshotView(cl, s, true, false) // with the old updated_at, like Cinder
	s.updated = c.nowSeconds()
	return okResponse(map[string]any{"snapshot": view}), nil
}

// deleteSnapshot answers DELETE /snapshots/{id}.
func (c *Cloud) deleteSnapshot(cl *call, path []string) (response, error) {
	s, err := c.snapshot(cl, path[1])
	if err != nil {
		return response{}, err
	}
	if err := c.checkWriter(cl, "volume:delete_snapshot"); err != nil {
		return response{}, err
	}
	if s.status != "available" && s.status != "error" {
		return response{}, faultf(http.StatusBadRequest, "Invalid snapshot: Snapshot status must be available or error and must not be part of a group.")
	}
	c.startSnapshotDeletion(cl, s)
	return acceptedResponse(), nil
}

// startSnapshotDeletion starts the deletion, which is given up with Options.BusySnapshots
// while clones exist.
func (c *Cloud) startSnapshotDeletion(cl *call, s *snapshot) {
	request := cl.id
	s.status, s.updated = "deleting", c.nowSeconds()
	s.task = c.begin(DeleteSnapshot, func() {
		if c.opts.BusySnapshots && c.hasClones(s.id) {
			c.finishSnapshot(s, "available")
			c.addMessage(s.project, "VOLUME_SNAPSHOT", s.id, "VOLUME_VOLUME_SNAPSHOT_010_015", "delete snapshot:Snapshot is busy.", request)
			return
		}
		delete(c.snapshots, s.id)
	}, func() {
		c.finishSnapshot(s, "error_deleting")
		c.addMessage(s.project, "VOLUME_SNAPSHOT", s.id, "VOLUME_VOLUME_SNAPSHOT_010_016", "delete snapshot:Snapshot failed to delete.", request)
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
func (c *Cloud) actOnSnapshot(cl *call, path []string) (response, error) {
	const policy = "volume_extension:snapshot_admin_actions:"
	switch {
	case cl.body["os-reset_status"] != nil:
		status := strings.ToLower(stringAt(cl.body, "os-reset_status", "status"))
		if !slices.Contains(snapshotStatuses, status) {
			return response{}, faultf(http.StatusBadRequest, "Snapshot status: %s is invalid, valid statuses are: ('%s').", status, strings.Join(snapshotStatuses, "', '"))
		}
		s, err := c.snapshot(cl, path[1])
		if err != nil {
			return response{}, err
		}
		if err := cl.requireAdmin(policy + "reset_status"); err != nil {
			return response{}, err
		}
		s.status, s.updated, s.task = status, c.nowSeconds(), nil
	case cl.has("os-force_delete"):
		s, err := c.snapshot(cl, path[1])
		if err != nil {
			return response{}, err
		}
		if err := cl.requireAdmin(policy + "force_delete"); err != nil {
			return response{}, err
		}
		c.startSnapshotDeletion(cl, s)
	default:
		return response{}, noAction(cl)
	}
	return response{status: http.StatusAccepted}, nil
}

// createSnapshot answers POST /snapshots.
func (c *Cloud) createSnapshot(cl *call, _ []string) (response, error) {
	part := cl.part("snapshot")
	if part == nil {
		return response{}, invalid("snapshot", cl.body, "'snapshot' is a required property")
	}
	if err := onlyKeys("snapshot", part, "name", "display_name", "description", "volume_id", "force", "metadata"); err != nil {
		return response{}, err
	}
	if _, given := part["volume_id"]; !given {
		return response{}, invalid("snapshot", part, "'volume_id' is a required property")
	}
	id, err := uuidField(part, "volume_id")
	if err != nil {
		return response{}, err
	}
	s := &snapshot{
		id: c.newID(), user: cl.token.user.id, project: cl.token.project.ID, volume: id, status: "creating", progress: "0%", created: c.nowSeconds(),
	}
	texts, err := c.textFields(part, ofSnapshot)
	if err != nil {
		return response{}, err
	}
	texts.set(&s.name, &s.description)
	if s.metadata, err = metadataField(part, "metadata"); err != nil {
		return response{}, err
	}
	v, err := c.volume(cl, id)
	if err != nil {
		return response{}, err
	}
	if err := c.checkWriter(cl, "volume:create_snapshot"); err != nil {
		return response{}, err
	}
	if err := c.checkSnapshot(cl, v, part); err != nil {
		return response{}, err
	}
	s.kind, s.size = v.kind, v.size
	c.startSnapshot(cl, v, s)
	view := c.snapshotView(cl, s, true, false)
	view["created_at"] = cinderTime(c.now())
	return response{status: http.StatusAccepted, body: map[string]any{"snapshot": view}}, nil
}

// startSnapshot adds a snapshot of the present bytes.
func (c *Cloud) startSnapshot(cl *call, v *volume, s *snapshot) {
	request := cl.id
	s.data = slices.Clone(v.data)
	s.task = c.begin(CreateSnapshot, func() {
		s.progress = "100%"
		c.finishSnapshot(s, "available")
	}, func() {
		c.finishSnapshot(s, "error")
		c.addMessage(s.project, "VOLUME_SNAPSHOT", s.id, "VOLUME_VOLUME_SNAPSHOT_009_013", "create snapshot:Snapshot failed to create.", request)
	})
	c.snapshots[s.id] = s
}

// checkSnapshot checks the volume's status, force and the quotas.
func (c *Cloud) checkSnapshot(cl *call, v *volume, part map[string]any) error {
	force, given := part["force"]
	inUse := cl.minor >= 66
	if given && force != nil {
		if inUse && !parseBool(force) {
			return faultf(http.StatusBadRequest, "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, however, "+
				"when the 'force' flag is passed with a value evaluating to True, it is silently ignored.")
		}
		inUse = inUse || parseBool(force)
	}
	if v.host == "" {
		return faultf(http.StatusBadRequest, "Invalid volume: volume is not assigned to a host")
	}
	valid := []string{"available"}
	if inUse {
		valid = append(valid, "in-use")
	}
	if !slices.Contains(valid, v.status) {
		return faultf(http.StatusBadRequest, "Invalid volume: Volume %s status must be %s, but current status is: %s.", v.id, join(valid), v.status)
	}
	return c.checkQuota(cl.token.project, v.kind, map[string]int{"snapshots": 1, "gigabytes": v.size})
}
