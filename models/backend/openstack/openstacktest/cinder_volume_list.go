package openstacktest

import (
	"strings"
	"time"
)

// listVolumes answers GET /volumes and /volumes/detail.
func (c *Cloud) listVolumes(cl *call, path []string) (response, error) {
	return listObjects(c, cl, path, objects[volume]{
		collection: "volumes", kind: "Volume", all: c.volumes, get: c.volume, row: c.volumeRow, task: func(v *volume) *task { return v.task },
		matcher: matcher[volume]{
			project: func(v *volume) string { return v.project }, metadata: func(v *volume) map[string]string { return v.metadata },
			times: func(v *volume) map[string]time.Time {
				return map[string]time.Time{"created_at": v.created, "updated_at": v.updated}
			},
			matches: volumeMatches,
		},
	})
}

func (c *Cloud) volumeRow(cl *call, v *volume) *row {
	columns := func(name string) (any, bool) {
		switch name {
		case "id":
			return v.id, true
		case "created_at":
			return v.created, true
		case "updated_at":
			return v.updated, true
		case "display_name":
			return orNullPtr(v.name), true
		case "status":
			return v.status, true
		case "size":
			return v.size, true
		case "availability_zone":
			return v.zone, true
		case "bootable":
			return v.imageID, true
		case "host":
			return v.host, true
		case "project_id":
			return v.project, true
		}
		return nil, false
	}
	return &row{id: v.id, columns: columns, render: func(detail bool) map[string]any {
		if detail {
			return c.volumeView(cl, v, true)
		}
		return map[string]any{"id": v.id, "name": orNullPtr(v.name), "links": c.links(cl, "volumes", v.id)}
	}}
}

func volumeMatches(v *volume, name, value string) bool {
	switch name {
	case "name", "display_name":
		return deref(v.name) == value && v.name != nil
	case "status":
		return v.status == value
	case "size":
		return v.size == atoi(value)
	case "availability_zone":
		return v.zone == value
	case "bootable":
		return parseBool(value) == (v.imageID != "")
	case "consumes_quota":
		return parseBool(value)
	case "id":
		return v.id == value
	case "snapshot_id":
		return v.snapshot == value
	case "host":
		return v.host == value || strings.HasPrefix(v.host, value+"#")
	}
	return false
}

// volumeView is a volume in JSON; extended adds what is not in answers to creates and
// updates.
func (c *Cloud) volumeView(cl *call, v *volume, extended bool) map[string]any {
	view := map[string]any{
		"id": v.id, "status": v.status, "size": v.size, "availability_zone": v.zone, "created_at": cinderTime(v.created), "updated_at": cinderTime(v.updated),
		"name": orNullPtr(v.name), "description": orNullPtr(v.description), "volume_type": v.kind.name, "snapshot_id": orNull(v.snapshot),
		"source_volid": orNull(v.source), "metadata": cloneMap(v.metadata), "links": c.links(cl, "volumes", v.id), "user_id": v.user,
		"bootable": map[bool]string{true: "true", false: "false"}[v.imageID != ""], "encrypted": false, "replication_status": nil,
		"consistencygroup_id": nil, "multiattach": v.kind.multiattach, "attachments": c.attachmentsView(cl, v),
	}
	if cl.minor >= 13 {
		view["group_id"] = nil
	}
	if cl.minor >= 48 {
		view["shared_targets"], view["service_uuid"] = v.task != nil && v.task.op == CreateVolume || v.host == "", nil
		if view["shared_targets"] == false {
			view["service_uuid"] = c.endpointID("cinder-volume")
		}
	}
	if cl.minor >= 63 {
		view["volume_type_id"] = v.kind.id
	}
	if cl.minor >= 65 {
		view["consumes_quota"] = true
	}
	if cl.token.hasRole("admin") {
		view["migration_status"] = nil
		if cl.minor >= 21 {
			view["provider_id"] = nil
		}
		if cl.minor >= 61 {
			view["cluster_name"] = nil
		}
	}
	if extended {
		c.extendView(cl, v, view)
	}
	return view
}

func (c *Cloud) extendView(cl *call, v *volume, view map[string]any) {
	view["os-vol-tenant-attr:tenant_id"] = v.project
	if v.imageID != "" {
		name := v.imageID
		if i := c.images[v.imageID]; i != nil {
			name = i.name
		}
		view["volume_image_metadata"] = map[string]any{
			"image_id": v.imageID, "image_name": name, "container_format": "bare", "disk_format": "raw", "min_disk": "0", "min_ram": "0",
			"signature_verified": "False", "checksum": nil, "size": itoa(len(v.data)),
		}
	}
	if cl.token.hasRole("admin") {
		view["os-vol-host-attr:host"], view["os-vol-mig-status-attr:migstat"], view["os-vol-mig-status-attr:name_id"] = orNull(v.host), nil, nil
	}
}

func (c *Cloud) attachmentsView(cl *call, v *volume) []any {
	list := []any{}
	for _, a := range v.attachments {
		if a.attached.IsZero() {
			continue
		}
		one := map[string]any{
			"id": v.id, "attachment_id": a.id, "volume_id": v.id, "server_id": a.server, "host_name": nil, "device": a.device, "attached_at": cinderTime(a.attached),
		}
		if cl.token.hasRole("admin") {
			one["host_name"] = "lab"
		}
		list = append(list, one)
	}
	return list
}
