package openstacktest

import (
	"net/http"
	"slices"
)

// createVolume answers POST /volumes.
func (c *Cloud) createVolume(cl *call, _ []string) (answer, error) {
	part := cl.part("volume")
	if part == nil {
		return answer{}, invalid("volume", cl.body, "'volume' is a required property")
	}
	if cl.minor >= 53 {
		if err := onlyKeys("volume", part, "name", "description", "display_name", "display_description", "volume_type", "metadata", "snapshot_id",
			"source_volid", "consistencygroup_id", "size", "availability_zone", "multiattach", "image_id", "imageRef", "group_id", "backup_id"); err != nil {
			return answer{}, err
		}
	}
	v, err := c.volumeFrom(cl, part)
	if err != nil {
		return answer{}, err
	}
	if err := c.writes(cl, "volume:create"); err != nil {
		return answer{}, err
	}
	if err := c.source(cl, part, v); err != nil {
		return answer{}, err
	}
	if err := c.fits(cl.token.project, v.kind, map[string]int{"volumes": 1, "gigabytes": v.size}); err != nil {
		return answer{}, err
	}
	request := cl.id
	v.task = c.begin(CreateVolume, func() {
		v.host = "lab@ceph#ceph"
		c.rests(v, "available")
	}, func() {
		c.rests(v, "error")
		c.tell(v.project, "VOLUME", v.id, "VOLUME_VOLUME_008_012", "create volume from backend storage:Driver failed to create the volume.", request)
		c.tell(v.project, "VOLUME", v.id, "VOLUME_VOLUME_001_003", "schedule allocate volume:Could not find any available weighted backend.", request)
	})
	c.volumes[v.id] = v
	view := c.volumeView(cl, v, false)
	view["created_at"] = naive(c.now())
	return answer{status: http.StatusAccepted, body: map[string]any{"volume": view}}, nil
}

// volumeFrom reads what a new volume is to be, without its source.
func (c *Cloud) volumeFrom(cl *call, part map[string]any) (*volume, error) {
	v := &volume{
		id: c.newID(), user: cl.token.user.id, project: cl.token.project.ID, status: "creating", kind: c.types[0], zone: c.zones[0], created: c.stamp(),
	}
	var err error
	if v.name, _, err = c.textField(part, "name", ofVolume); err != nil {
		return nil, err
	}
	if v.description, _, err = c.textField(part, "description", ofVolume); err != nil {
		return nil, err
	}
	if v.metadata, err = metadataField(part, "metadata"); err != nil {
		return nil, err
	}
	if v.size, err = sizeField(part, "size"); err != nil {
		return nil, err
	}
	if zone := text(part, "availability_zone"); zone != "" {
		if !slices.Contains(c.zones, zone) {
			return nil, fault(http.StatusBadRequest, "Availability zone '%s' is invalid.", zone)
		}
		v.zone = zone
	}
	if name := text(part, "volume_type"); name != "" {
		if v.kind = c.typeNamed(name); v.kind.name != name && v.kind.id != name {
			if uuidPattern.MatchString(name) {
				return nil, fault(http.StatusNotFound, "Volume type %s could not be found.", name)
			}
			return nil, fault(http.StatusNotFound, "Volume type with name %s could not be found.", name)
		}
	}
	if boolOf(part["multiattach"]) {
		return nil, fault(http.StatusBadRequest, "multiattach parameter has been removed. The default behavior is to use multiattach enabled volume types. "+
			"Contact your administrator to create a multiattach enabled volume type and use it to create multiattach volumes.")
	}
	return v, nil
}

// source finds where the bytes of a new volume come from.
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
			return fault(http.StatusBadRequest, "Invalid snapshot: Originating snapshot status must be one of 'available' values")
		}
		if v.size < s.size {
			return fault(http.StatusBadRequest, "Invalid input received: Volume size '%d' GB cannot be smaller than the snapshot size %dGB. They must be >= original snapshot size.", v.size, s.size)
		}
		if text(part, "volume_type") == "" {
			v.kind = s.kind
		}
		v.snapshot, v.data = s.id, slices.Clone(s.data)
	}
	ref := text(part, "imageRef") + text(part, "image_id")
	if ref != "" {
		image := c.images[ref]
		if image == nil {
			return fault(http.StatusBadRequest, "Invalid image identifier or unable to access requested image.")
		}
		v.imageID, v.data = image.id, slices.Clone(image.content)
	}
	if v.size == 0 {
		return fault(http.StatusBadRequest, "The server could not comply with the request since it is either malformed or otherwise incorrect.")
	}
	return nil
}

// createSnapshot answers POST /snapshots.
func (c *Cloud) createSnapshot(cl *call, _ []string) (answer, error) {
	part := cl.part("snapshot")
	if part == nil {
		return answer{}, invalid("snapshot", cl.body, "'snapshot' is a required property")
	}
	if err := onlyKeys("snapshot", part, "name", "display_name", "description", "volume_id", "force", "metadata"); err != nil {
		return answer{}, err
	}
	if _, given := part["volume_id"]; !given {
		return answer{}, invalid("snapshot", part, "'volume_id' is a required property")
	}
	id, err := uuidField(part, "volume_id")
	if err != nil {
		return answer{}, err
	}
	s := &snapshot{
		id: c.newID(), user: cl.token.user.id, project: cl.token.project.ID, volume: id, status: "creating", progress: "0%", created: c.stamp(),
	}
	if s.name, _, err = c.textField(part, "name", ofSnapshot); err != nil {
		return answer{}, err
	}
	if s.description, _, err = c.textField(part, "description", ofSnapshot); err != nil {
		return answer{}, err
	}
	if s.metadata, err = metadataField(part, "metadata"); err != nil {
		return answer{}, err
	}
	v, err := c.volume(cl, id)
	if err != nil {
		return answer{}, err
	}
	if err := c.writes(cl, "volume:create_snapshot"); err != nil {
		return answer{}, err
	}
	if err := c.snapshotAllowed(cl, v, part); err != nil {
		return answer{}, err
	}
	s.kind, s.size = v.kind, v.size
	c.startSnapshot(cl, v, s)
	view := c.snapshotView(cl, s, true, false)
	view["created_at"] = naive(c.now())
	return answer{status: http.StatusAccepted, body: map[string]any{"snapshot": view}}, nil
}

// startSnapshot puts the row there; its bytes are those of this moment.
func (c *Cloud) startSnapshot(cl *call, v *volume, s *snapshot) {
	request := cl.id
	s.data = slices.Clone(v.data)
	s.task = c.begin(CreateSnapshot, func() {
		s.progress = "100%"
		c.snapshotRests(s, "available")
	}, func() {
		c.snapshotRests(s, "error")
		c.tell(s.project, "VOLUME_SNAPSHOT", s.id, "VOLUME_VOLUME_SNAPSHOT_009_013", "create snapshot:Snapshot failed to create.", request)
	})
	c.snapshots[s.id] = s
}

// snapshotAllowed checks the volume's status and the quotas.
func (c *Cloud) snapshotAllowed(cl *call, v *volume, part map[string]any) error {
	force, given := part["force"]
	inUse := cl.minor >= 66
	if given && force != nil {
		if inUse && !boolOf(force) {
			return fault(http.StatusBadRequest, "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, however, "+
				"when the 'force' flag is passed with a value evaluating to True, it is silently ignored.")
		}
		inUse = inUse || boolOf(force)
	}
	if v.host == "" {
		return fault(http.StatusBadRequest, "Invalid volume: volume is not assigned to a host")
	}
	valid := []string{"available"}
	if inUse {
		valid = append(valid, "in-use")
	}
	if !slices.Contains(valid, v.status) {
		return fault(http.StatusBadRequest, "Invalid volume: Volume %s status must be %s, but current status is: %s.", v.id, join(valid), v.status)
	}
	return c.fits(cl.token.project, v.kind, map[string]int{"snapshots": 1, "gigabytes": v.size})
}
