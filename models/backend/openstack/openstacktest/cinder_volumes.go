package openstacktest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// listVolumes answers GET /volumes and /volumes/detail.
func (c *Cloud) listVolumes(cl *call, path []string) (answer, error) {
	filters, detail := cl.query, len(path) == 2
	marker := filters.Get("marker")
	l, err := cl.paging(filters, "volumes", "Volume")
	if err != nil {
		return answer{}, err
	}
	count := cl.minor >= 45 && boolOf(filters.Get("with_count"))
	if cl.minor >= 45 {
		filters.Del("with_count")
	}
	if err := cl.checkFilters(filters, "volume"); err != nil {
		return answer{}, err
	}
	matches, err := c.volumeFilter(cl, filters)
	if err != nil {
		return answer{}, err
	}
	if marker != "" {
		v, err := c.volume(cl, marker)
		if err != nil {
			return answer{}, err
		}
		l.marker = c.volumeRow(cl, v)
	}
	rows := []*row{}
	for _, v := range c.volumes {
		if filters.Has("metadata") && matches(v) {
			v.task.look() // who looks for one object does look at it
		}
	}
	for _, v := range c.volumes {
		if matches(v) {
			rows = append(rows, c.volumeRow(cl, v))
		}
	}
	return c.answerPage(cl, l, rows, detail, count)
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
			return pointed(v.name), true
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
		return map[string]any{"id": v.id, "name": pointed(v.name), "links": c.links(cl, "volumes", v.id)}
	}}
}

func pointed(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

// volumeFilter makes the test that the filters of a listing ask for.
func (c *Cloud) volumeFilter(cl *call, filters url.Values) (func(*volume) bool, error) {
	tests := []func(*volume) bool{inProjects(cl, filters, func(v *volume) string { return v.project })}
	for name := range filters {
		value := filters.Get(name)
		switch name {
		case "all_tenants":
		case "created_at", "updated_at":
			passes, err := timeFilter(name, value)
			if err != nil {
				return nil, err
			}
			tests = append(tests, func(v *volume) bool {
				return passes(map[string]time.Time{"created_at": v.created, "updated_at": v.updated}[name])
			})
		case "metadata":
			want := dictionary(value)
			tests = append(tests, func(v *volume) bool { return want != nil && hasAll(v.metadata, want) })
		default:
			tests = append(tests, func(v *volume) bool { return volumeHas(v, name, value) })
		}
	}
	return func(v *volume) bool {
		return !slices.ContainsFunc(tests, func(test func(*volume) bool) bool { return !test(v) })
	}, nil
}

// inProjects limits a listing to the caller's project, or for administrators who
// ask for all_tenants to project_id, if any.
func inProjects[T any](cl *call, filters url.Values, project func(T) string) func(T) bool {
	if cl.token.is("admin") && boolOf(filters.Get("all_tenants")) {
		only := filters.Get("project_id")
		filters.Del("project_id")
		return func(o T) bool { return only == "" || project(o) == only }
	}
	return func(o T) bool { return project(o) == cl.token.project.ID }
}

func volumeHas(v *volume, name, value string) bool {
	switch name {
	case "name", "display_name":
		return plain(v.name) == value && v.name != nil
	case "status":
		return v.status == value
	case "size":
		return v.size == atoi(value)
	case "availability_zone":
		return v.zone == value
	case "bootable":
		return boolOf(value) == (v.imageID != "")
	case "consumes_quota":
		return boolOf(value)
	case "id":
		return v.id == value
	case "snapshot_id":
		return v.snapshot == value
	case "host":
		return v.host == value || strings.HasPrefix(v.host, value+"#")
	}
	return false
}

// volumeView is a volume in full; extended adds what extensions tell about
// objects that are read, but not about those that were just made or changed.
func (c *Cloud) volumeView(cl *call, v *volume, extended bool) map[string]any {
	view := map[string]any{
		"id": v.id, "status": v.status, "size": v.size, "availability_zone": v.zone, "created_at": naive(v.created), "updated_at": naive(v.updated),
		"name": pointed(v.name), "description": pointed(v.description), "volume_type": v.kind.name, "snapshot_id": orNull(v.snapshot),
		"source_volid": orNull(v.source), "metadata": cloned(v.metadata), "links": c.links(cl, "volumes", v.id), "user_id": v.user,
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
	if cl.token.is("admin") {
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
	if cl.token.is("admin") {
		view["os-vol-host-attr:host"], view["os-vol-mig-status-attr:migstat"], view["os-vol-mig-status-attr:name_id"] = orNull(v.host), nil, nil
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (c *Cloud) attachmentsView(cl *call, v *volume) []any {
	list := []any{}
	for _, a := range v.attachments {
		if a.attached.IsZero() {
			continue
		}
		one := map[string]any{
			"id": v.id, "attachment_id": a.id, "volume_id": v.id, "server_id": a.server, "host_name": nil, "device": a.device, "attached_at": naive(a.attached),
		}
		if cl.token.is("admin") {
			one["host_name"] = "lab"
		}
		list = append(list, one)
	}
	return list
}

// showVolume answers GET /volumes/{id}, and is a look at what is under way.
func (c *Cloud) showVolume(cl *call, path []string) (answer, error) {
	v, err := c.volume(cl, path[1])
	if err != nil {
		return answer{}, err
	}
	v.task.look()
	if v, err = c.volume(cl, path[1]); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"volume": c.volumeView(cl, v, true)}), nil
}

// updateVolume answers PUT /volumes/{id}, which works in every status.
func (c *Cloud) updateVolume(cl *call, path []string) (answer, error) {
	part := cl.part("volume")
	if err := onlyKeys("volume", part, "name", "description", "display_name", "display_description", "metadata"); err != nil {
		return answer{}, err
	}
	if len(part) == 0 {
		return answer{}, invalid("volume", map[string]any{}, "{} is not valid under any of the given schemas")
	}
	name, named, err := c.textField(part, "name", ofVolume)
	if err != nil {
		return answer{}, err
	}
	description, described, err := c.textField(part, "description", ofVolume)
	if err != nil {
		return answer{}, err
	}
	metadata, err := metadataField(part, "metadata")
	if err != nil {
		return answer{}, err
	}
	v, err := c.volume(cl, path[1])
	if err != nil {
		return answer{}, err
	}
	if err := c.writes(cl, "volume:update"); err != nil {
		return answer{}, err
	}
	if v.status == "maintenance" {
		return answer{}, fault(http.StatusBadRequest, "Invalid volume: The volume cannot be updated during maintenance.")
	}
	if named {
		v.name = name
	}
	if described {
		v.description = description
	}
	if part["metadata"] != nil {
		v.metadata = metadata
	}
	view := c.volumeView(cl, v, false) // with the old time, as Cinder has it
	v.updated = c.stamp()
	return ok(map[string]any{"volume": view}), nil
}
