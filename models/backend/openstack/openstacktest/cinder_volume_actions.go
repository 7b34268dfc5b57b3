package openstacktest

import (
	"net/http"
	"slices"
	"strings"
)

// actOnVolume answers POST /volumes/{id}/action.
func (c *Cloud) actOnVolume(cl *call, path []string) (response, error) {
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
		act = c.refuseDetach
	default:
		return response{}, noAction(cl)
	}
	v, err := c.volume(cl, path[1])
	if err != nil {
		return response{}, err
	}
	if err := act(cl, v); err != nil {
		return response{}, err
	}
	return response{status: http.StatusAccepted}, nil
}

// extend grows a volume; in-use from 3.42 on.
func (c *Cloud) extend(cl *call, v *volume) error {
	size, err := sizeField(cl.part("os-extend"), "new_size")
	if err != nil {
		return err
	}
	if err := c.checkWriter(cl, "volume:extend"); err != nil {
		return err
	}
	inUse := v.status == "in-use" && cl.minor >= 42
	if v.status != "available" && !inUse {
		return faultf(http.StatusBadRequest, "Invalid volume: Volume %s status must be '{'status': 'available'}' to extend, currently %s.", v.id, v.status)
	}
	if size <= v.size {
		return faultf(http.StatusBadRequest, "Invalid input received: New size for extend must be greater than current size. (current: %d, extended: %d).", v.size, size)
	}
	if err := c.checkQuota(c.projectByID(v.project), v.kind, map[string]int{"gigabytes": size - v.size}); err != nil {
		return err
	}
	request, old := cl.id, v.size
	v.status, v.updated = "extending", c.nowSeconds()
	v.task = c.begin(ExtendVolume, func() {
		v.size = size
		c.finishVolume(v, v.finalStatus())
	}, func() {
		v.size = old
		c.finishVolume(v, "error_extending")
		c.addMessage(v.project, "VOLUME", v.id, "VOLUME_VOLUME_007_010", "extend volume:Volume Driver failed to extend volume.", request)
	})
	return nil
}

// revert restores the bytes of the latest snapshot. A failure leaves no message.
func (c *Cloud) revert(cl *call, v *volume) error {
	id, all := stringAt(cl.body, "revert", "snapshot_id"), c.snapshotsOf(v.id)
	if err := c.checkWriter(cl, "volume:revert_to_snapshot"); err != nil {
		return err
	}
	switch {
	case len(all) == 0:
		return faultf(http.StatusBadRequest, "Volume %s doesn't have any snapshots.", v.id)
	case id != all[0].id:
		if id == "" {
			id = "None"
		}
		return faultf(http.StatusBadRequest, "Specified snapshot %s is None or not the latest one of volume %s.", id, v.id)
	case v.size != all[0].size:
		return faultf(http.StatusBadRequest, "Can't revert volume %s to its latest snapshot %s. The volume size must be equal to the snapshot size.", v.id, id)
	case v.status != "available":
		return faultf(http.StatusConflict, "Invalid volume: Can't revert volume %s to its latest snapshot %s. Volume's status must be 'available'.", v.id, id)
	}
	s := all[0]
	if s.status != "available" {
		// A bug of Cinder: the volume is reverting by then and stays so.
		v.status, v.updated = "reverting", c.nowSeconds()
		return faultf(http.StatusConflict, "Invalid snapshot: Can't revert volume %s to its latest snapshot %s. Snapshot's status must be 'available'.", v.id, id)
	}
	v.status, v.updated, s.status, s.updated = "reverting", c.nowSeconds(), "restoring", c.nowSeconds()
	v.task = c.begin(RevertVolume, func() {
		v.data = slices.Clone(s.data)
		c.finishVolume(v, "available")
		c.finishSnapshot(s, "available")
	}, func() {
		c.finishVolume(v, "error")
		c.finishSnapshot(s, "available")
	})
	s.task = v.task
	return nil
}

var volumeStatuses = []string{
	"creating", "available", "deleting", "error", "error_deleting", "error_managing", "managing", "attaching", "in-use", "detaching", "maintenance",
	"restoring-backup", "error_restoring", "reserved", "awaiting-transfer", "backing-up", "error_backing-up", "error_extending", "downloading", "uploading",
	"retyping", "extending",
}

// resetVolume only sets the status; attach_status detached deletes the attachments.
func (c *Cloud) resetVolume(cl *call, v *volume) error {
	if err := cl.requireAdmin("volume_extension:volume_admin_actions:reset_status"); err != nil {
		return err
	}
	status := strings.ToLower(stringAt(cl.body, "os-reset_status", "status"))
	switch {
	case status != "" && !slices.Contains(volumeStatuses, status):
		return faultf(http.StatusBadRequest, "Volume status: %s is invalid, valid statuses are: ('%s').", status, strings.Join(volumeStatuses, "', '"))
	case status == "deleting":
		return faultf(http.StatusBadRequest, "Cannot reset-state to %s", status)
	case status == "in-use" && len(v.attachments) == 0:
		return faultf(http.StatusBadRequest, "Cannot reset-state to in-use because volume does not have any attachments.")
	case status != "":
		v.status, v.task = status, nil
	}
	if strings.EqualFold(stringAt(cl.body, "os-reset_status", "attach_status"), "detached") {
		v.attachments = nil
	}
	v.updated = c.nowSeconds()
	return nil
}

func (c *Cloud) forceDelete(cl *call, v *volume) error {
	if err := cl.requireAdmin("volume_extension:volume_admin_actions:force_delete"); err != nil {
		return err
	}
	if c.attached(v) || len(c.snapshotsOf(v.id)) > 0 {
		return faultf(http.StatusBadRequest, volumeNotDeletable)
	}
	c.startVolumeDeletion(v, nil)
	return nil
}

// refuseDetach refuses to detach past Nova, since CVE-2023-2088.
func (c *Cloud) refuseDetach(_ *call, v *volume) error {
	if len(v.attachments) == 0 {
		return nil
	}
	return faultf(http.StatusConflict, "ConflictNovaUsingAttachment: Detach volume from instance %s using the Compute API", v.attachments[0].server)
}
