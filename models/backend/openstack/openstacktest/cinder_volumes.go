package openstacktest

import (
	"net/http"
	"slices"
)

// createVolume answers POST /volumes.
func (c *Cloud) createVolume(cl *call, _ []string) (response, error) {
	part := cl.part("volume")
	if part == nil {
		return response{}, invalid("volume", cl.body, "'volume' is a required property")
	}
	if cl.minor >= 53 {
		if err := onlyKeys("volume", part, "name", "description", "display_name", "display_description", "volume_type", "metadata", "snapshot_id",
			"source_volid", "consistencygroup_id", "size", "availability_zone", "multiattach", "image_id", "imageRef", "group_id", "backup_id"); err != nil {
			return response{}, err
		}
	}
	v, err := c.volumeFrom(cl, part)
	if err != nil {
		return response{}, err
	}
	if err := c.checkWriter(cl, "volume:create"); err != nil {
		return response{}, err
	}
	if err := c.source(cl, part, v); err != nil {
		return response{}, err
	}
	if err := c.checkQuota(cl.token.project, v.kind, map[string]int{"volumes": 1, "gigabytes": v.size}); err != nil {
		return response{}, err
	}
	request := cl.id
	v.task = c.begin(CreateVolume, func() {
		v.host = "lab@ceph#ceph"
		c.finishVolume(v, "available")
	}, func() {
		c.finishVolume(v, "error")
		c.addMessage(v.project, "VOLUME", v.id, "VOLUME_VOLUME_008_012", "create volume from backend storage:Driver failed to create the volume.", request)
		c.addMessage(v.project, "VOLUME", v.id, "VOLUME_VOLUME_001_003", "schedule allocate volume:Could not find any available weighted backend.", request)
	})
	c.volumes[v.id] = v
	view := c.volumeView(cl, v, false)
	view["created_at"] = cinderTime(c.now())
	return response{status: http.StatusAccepted, body: map[string]any{"volume": view}}, nil
}

// volumeFrom makes a volume from a request, without its source.
func (c *Cloud) volumeFrom(cl *call, part map[string]any) (*volume, error) {
	v := &volume{
		id: c.newID(), user: cl.token.user.id, project: cl.token.project.ID, status: "creating", kind: c.types[0], zone: c.zones[0], created: c.nowSeconds(),
	}
	var err error
	texts, err := c.textFields(part, ofVolume)
	if err != nil {
		return nil, err
	}
	texts.set(&v.name, &v.description)
	if v.metadata, err = metadataField(part, "metadata"); err != nil {
		return nil, err
	}
	if v.size, err = sizeField(part, "size"); err != nil {
		return nil, err
	}
	if zone := stringAt(part, "availability_zone"); zone != "" {
		if !slices.Contains(c.zones, zone) {
			return nil, faultf(http.StatusBadRequest, "Availability zone '%s' is invalid.", zone)
		}
		v.zone = zone
	}
	if name := stringAt(part, "volume_type"); name != "" {
		if v.kind = c.typeNamed(name); v.kind.name != name && v.kind.id != name {
			if uuidPattern.MatchString(name) {
				return nil, faultf(http.StatusNotFound, "Volume type %s could not be found.", name)
			}
			return nil, faultf(http.StatusNotFound, "Volume type with name %s could not be found.", name)
		}
	}
	if parseBool(part["multiattach"]) {
		return nil, faultf(http.StatusBadRequest, "multiattach parameter has been removed. The default behavior is to use multiattach enabled volume types. "+
			"Contact your administrator to create a multiattach enabled volume type and use it to create multiattach volumes.")
	}
	return v, nil
}

// source copies the bytes of the snapshot or image of a new volume.
func (c *Cloud) source(cl *call, part map[string]any, v *volume) error {
	id, err := uuidField(part, "snapshot_id")
	if err != nil {
		return err
	}
	if id != "" {
		s, err := c.snapshot(cl, id)
		if err != nil {
			return err
		}
		if v.size == 0 {
			v.size = s.size
		}
		if s.status != "available" {
			return faultf(http.StatusBadRequest, "Invalid snapshot: Originating snapshot status must be one of 'available' values")
		}
		if v.size < s.size {
			return faultf(http.StatusBadRequest, "Invalid input received: Volume size '%d' GB cannot be smaller than the snapshot size %dGB. They must be >= original snapshot size.", v.size, s.size)
		}
		if stringAt(part, "volume_type") == "" {
			v.kind = s.kind
		}
		v.snapshot, v.data = s.id, slices.Clone(s.data)
	}
	ref := stringAt(part, "imageRef") + stringAt(part, "image_id")
	if ref != "" {
		image := c.images[ref]
		if image == nil {
			return faultf(http.StatusBadRequest, "Invalid image identifier or unable to access requested image.")
		}
		v.imageID, v.data = image.id, slices.Clone(image.content)
	}
	if v.size == 0 {
		return faultf(http.StatusBadRequest, "The server could not comply with the request since it is either malformed or otherwise incorrect.")
	}
	return nil
}

// showVolume answers GET /volumes/{id} and counts as a poll.
func (c *Cloud) showVolume(cl *call, path []string) (response, error) {
	v, err := c.volume(cl, path[1])
	if err != nil {
		return response{}, err
	}
	v.task.poll()
	if v, err = c.volume(cl, path[1]); err != nil {
		return response{}, err
	}
	return okResponse(map[string]any{"volume": c.volumeView(cl, v, true)}), nil
}

// updateVolume answers PUT /volumes/{id}, which works in every status.
func (c *Cloud) updateVolume(cl *call, path []string) (response, error) {
	part := cl.part("volume")
	if err := onlyKeys("volume", part, "name", "description", "display_name", "display_description", "metadata"); err != nil {
		return response{}, err
	}
	if len(part) == 0 {
		return response{}, invalid("volume", map[string]any{}, "{} is not valid under any of the given schemas")
	}
	texts, err := c.textFields(part, ofVolume)
	if err != nil {
		return response{}, err
	}
	metadata, err := metadataField(part, "metadata")
	if err != nil {
		return response{}, err
	}
	v, err := c.volume(cl, path[1])
	if err != nil {
		return response{}, err
	}
	if err := c.checkWriter(cl, "volume:update"); err != nil {
		return response{}, err
	}
	if v.status == "maintenance" {
		return response{}, faultf(http.StatusBadRequest, "Invalid volume: The volume cannot be updated during maintenance.")
	}
	texts.set(&v.name, &v.description)
	if part["metadata"] != nil {
		v.metadata = metadata
	}
	view := c.volumeView(cl, v, false) // with the old updated_at, like Cinder
	v.updated = c.nowSeconds()
	return okResponse(map[string]any{"volume": view}), nil
}

const volumeNotDeletable = "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, " +
	"attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."

// deleteVolume answers DELETE /volumes/{id}, with cascade and force.
func (c *Cloud) deleteVolume(cl *call, path []string) (response, error) {
	v, err := c.volume(cl, path[1])
	if err != nil {
		return response{}, err
	}
	if err := c.checkWriter(cl, "volume:delete"); err != nil {
		return response{}, err
	}
	force := cl.minor >= 23 && parseBool(cl.query.Get("force"))
	if force {
		if err := cl.requireAdmin("volume:force_delete"); err != nil {
			return response{}, err
		}
	}
	if v.host == "" {
		delete(c.volumes, v.id)
		return acceptedResponse(), nil
	}
	deletable := []string{"available", "error", "error_restoring", "error_extending", "error_managing"}
	cascade, snapshots := parseBool(cl.query.Get("cascade")), c.snapshotsOf(v.id)
	stuck := slices.ContainsFunc(snapshots, func(s *snapshot) bool {
		return s.status != "available" && s.status != "error" && s.status != "deleting"
	})
	if !force && !slices.Contains(deletable, v.status) || c.attached(v) || len(snapshots) > 0 && (!cascade || stuck && !force) {
		return response{}, faultf(http.StatusBadRequest, volumeNotDeletable)
	}
	c.startVolumeDeletion(v, snapshots)
	return acceptedResponse(), nil
}

func (c *Cloud) startVolumeDeletion(v *volume, snapshots []*snapshot) {
	v.status, v.updated = "deleting", c.nowSeconds()
	for _, s := range snapshots {
		s.status, s.updated, s.task = "deleting", c.nowSeconds(), nil
	}
	v.task = c.begin(DeleteVolume, func() {
		for _, s := range snapshots {
			delete(c.snapshots, s.id)
		}
		delete(c.volumes, v.id)
	}, func() { c.finishVolume(v, "error_deleting") })
}

func (c *Cloud) attached(v *volume) bool {
	return slices.ContainsFunc(v.attachments, func(a *attachment) bool { return !a.attached.IsZero() })
}

// snapshotsOf are the snapshots of a volume, the latest first.
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
