package openstacktest

import (
	"net/http"
	"slices"
	"strings"
)

const undeletable = "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, " +
	"attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."

// deleteVolume answers DELETE /volumes/{id}, with cascade and force.
func (c *Cloud) deleteVolume(cl *call, path []string) (answer, error) {
	v, err := c.volume(cl, path[1])
	if err != nil {
		return answer{}, err
	}
	if err := c.writes(cl, "volume:delete"); err != nil {
		return answer{}, err
	}
	force := cl.minor >= 23 && boolOf(cl.query.Get("force"))
	if force {
		if err := cl.administers("volume:force_delete"); err != nil {
			return answer{}, err
		}
	}
	if v.host == "" {
		delete(c.volumes, v.id)
		return accepted(), nil
	}
	deletable := []string{"available", "error", "error_restoring", "error_extending", "error_managing"}
	cascade, snapshots := boolOf(cl.query.Get("cascade")), c.snapshotsOf(v.id)
	stuck := slices.ContainsFunc(snapshots, func(s *snapshot) bool {
		return s.status != "available" && s.status != "error" && s.status != "deleting"
	})
	if !force && !slices.Contains(deletable, v.status) || c.attached(v) || len(snapshots) > 0 && (!cascade || stuck && !force) {
		return answer{}, fault(http.StatusBadRequest, undeletable)
	}
	c.startVolumeDeletion(v, snapshots)
	return accepted(), nil
}

func (c *Cloud) startVolumeDeletion(v *volume, snapshots []*snapshot) {
	v.status, v.updated = "deleting", c.stamp()
	for _, s := range snapshots {
		s.status, s.updated, s.task = "deleting", c.stamp(), nil
	}
	v.task = c.begin(DeleteVolume, func() {
		for _, s := range snapshots {
			delete(c.snapshots, s.id)
		}
		delete(c.volumes, v.id)
	}, func() { c.rests(v, "error_deleting") })
}

func (c *Cloud) attached(v *volume) bool {
	return slices.ContainsFunc(v.attachments, func(a *attachment) bool { return !a.attached.IsZero() })
}

// snapshotsOf are a volume's snapshots, the latest first.
func (c *Cloud) snapshotsOf(volume string) []*snapshot {
	var list []*snapshot
	for _, s := range c.snapshots {
		if s.volume == volume {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *snapshot) int { return older(b.created, a.created, b.id, a.id) })
	return list
}

// actOnVolume answers POST /volumes/{id}/action.
func (c *Cloud) actOnVolume(cl *call, path []string) (answer, error) {
	var act func(*call, *volume) error
	switch {
	case cl.has("os-extend"):
		act = c.extend
	case cl.has("revert") && cl.minor >= 40:
		act = c.revert
	case cl.has("os-reset_status"):
		act = c.resetVolume
	case cl.has("os-force_delete"):
		act = c.forceDelete
	case cl.has("os-detach"), cl.has("os-force_detach"), cl.has("os-terminate_connection"):
		act = c.detachBehindNova
	default:
		return answer{}, noAction(cl)
	}
	v, err := c.volume(cl, path[1])
	if err != nil {
		return answer{}, err
	}
	if err := act(cl, v); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusAccepted}, nil
}

// extend grows a volume; in-use from 3.42 on.
func (c *Cloud) extend(cl *call, v *volume) error {
	size, err := sizeField(cl.part("os-extend"), "new_size")
	if err != nil {
		return err
	}
	if err := c.writes(cl, "volume:extend"); err != nil {
		return err
	}
	inUse := v.status == "in-use" && cl.minor >= 42
	if v.status != "available" && !inUse {
		return fault(http.StatusBadRequest, "Invalid volume: Volume %s status must be '{'status': 'available'}' to extend, currently %s.", v.id, v.status)
	}
	if size <= v.size {
		return fault(http.StatusBadRequest, "Invalid input received: New size for extend must be greater than current size. (current: %d, extended: %d).", v.size, size)
	}
	if err := c.fits(c.projectByID(v.project), v.kind, map[string]int{"gigabytes": size - v.size}); err != nil {
		return err
	}
	request, old := cl.id, v.size
	v.status, v.updated = "extending", c.stamp()
	v.task = c.begin(ExtendVolume, func() {
		v.size = size
		c.rests(v, v.resting())
	}, func() {
		v.size = old
		c.rests(v, "error_extending")
		c.tell(v.project, "VOLUME", v.id, "VOLUME_VOLUME_007_010", "extend volume:Volume Driver failed to extend volume.", request)
	})
	return nil
}

// revert puts the bytes of the latest snapshot back. A failure leaves no message.
func (c *Cloud) revert(cl *call, v *volume) error {
	id, all := text(cl.body, "revert", "snapshot_id"), c.snapshotsOf(v.id)
	if err := c.writes(cl, "volume:revert_to_snapshot"); err != nil {
		return err
	}
	switch {
	case len(all) == 0:
		return fault(http.StatusBadRequest, "Volume %s doesn't have any snapshots.", v.id)
	case id != all[0].id:
		if id == "" {
			id = "None"
		}
		return fault(http.StatusBadRequest, "Specified snapshot %s is None or not the latest one of volume %s.", id, v.id)
	case v.size != all[0].size:
		return fault(http.StatusBadRequest, "Can't revert volume %s to its latest snapshot %s. The volume size must be equal to the snapshot size.", v.id, id)
	case v.status != "available":
		return fault(http.StatusConflict, "Invalid volume: Can't revert volume %s to its latest snapshot %s. Volume's status must be 'available'.", v.id, id)
	}
	s := all[0]
	if s.status != "available" {
		// The volume has become reverting by then, and stays so: Cinder's own bug.
		v.status, v.updated = "reverting", c.stamp()
		return fault(http.StatusConflict, "Invalid snapshot: Can't revert volume %s to its latest snapshot %s. Snapshot's status must be 'available'.", v.id, id)
	}
	v.status, v.updated, s.status, s.updated = "reverting", c.stamp(), "restoring", c.stamp()
	v.task = c.begin(RevertVolume, func() {
		v.data = slices.Clone(s.data)
		c.rests(v, "available")
		c.snapshotRests(s, "available")
	}, func() {
		c.rests(v, "error")
		c.snapshotRests(s, "available")
	})
	s.task = v.task
	return nil
}

var volumeStatuses = []string{
	"creating", "available", "deleting", "error", "error_deleting", "error_managing", "managing", "attaching", "in-use", "detaching", "maintenance",
	"restoring-backup", "error_restoring", "reserved", "awaiting-transfer", "backing-up", "error_backing-up", "error_extending", "downloading", "uploading",
	"retyping", "extending",
}

// resetVolume writes a status into the database and nothing else; attach_status
// detached wipes the attachments.
func (c *Cloud) resetVolume(cl *call, v *volume) error {
	if err := cl.administers("volume_extension:volume_admin_actions:reset_status"); err != nil {
		return err
	}
	status := strings.ToLower(text(cl.body, "os-reset_status", "status"))
	switch {
	case status != "" && !slices.Contains(volumeStatuses, status):
		return fault(http.StatusBadRequest, "Volume status: %s is invalid, valid statuses are: ('%s').", status, strings.Join(volumeStatuses, "', '"))
	case status == "deleting":
		return fault(http.StatusBadRequest, "Cannot reset-state to %s", status)
	case status == "in-use" && len(v.attachments) == 0:
		return fault(http.StatusBadRequest, "Cannot reset-state to in-use because volume does not have any attachments.")
	case status != "":
		v.status, v.task = status, nil
	}
	if strings.EqualFold(text(cl.body, "os-reset_status", "attach_status"), "detached") {
		v.attachments = nil
	}
	v.updated = c.stamp()
	return nil
}

func (c *Cloud) forceDelete(cl *call, v *volume) error {
	if err := cl.administers("volume_extension:volume_admin_actions:force_delete"); err != nil {
		return err
	}
	if c.attached(v) || len(c.snapshotsOf(v.id)) > 0 {
		return fault(http.StatusBadRequest, undeletable)
	}
	c.startVolumeDeletion(v, nil)
	return nil
}

// detachBehindNova is refused since CVE-2023-2088, where Nova has the volume.
func (c *Cloud) detachBehindNova(_ *call, v *volume) error {
	if len(v.attachments) == 0 {
		return nil
	}
	return fault(http.StatusConflict, "ConflictNovaUsingAttachment: Detach volume from instance %s using the Compute API", v.attachments[0].server)
}
