package openstacktest

import (
	"net/http"
	"slices"
	"time"
)

// SetQuota limits what a project may have: volumes, snapshots, gigabytes,
// per_volume_gigabytes, or one of the first three for a type, such as
// gigabytes_ceph. A negative limit is none.
func (c *Cloud) SetQuota(project Project, what string, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.projectByID(project.ID).quotas[what] = limit
}

var quotaDefaults = map[string]int{
	"volumes": 10, "snapshots": 10, "gigabytes": 1000, "backups": 10, "backup_gigabytes": 1000, "groups": 10, "per_volume_gigabytes": -1,
}

func (p *project) limit(what string) int {
	if n, set := p.quotas[what]; set {
		return n
	}
	if n, set := quotaDefaults[what]; set {
		return n
	}
	return -1
}

// used counts what a project has. A snapshot takes its volume's whole size.
func (c *Cloud) used(p *project) map[string]int {
	used := map[string]int{}
	count := func(what string, kind *volumeType, n int) {
		used[what] += n
		used[what+"_"+kind.name] += n
	}
	for _, v := range c.volumes {
		if v.project == p.ID {
			count("volumes", v.kind, 1)
			count("gigabytes", v.kind, v.size)
		}
	}
	for _, s := range c.snapshots {
		if s.project == p.ID {
			count("snapshots", s.kind, 1)
			count("gigabytes", s.kind, s.size)
		}
	}
	return used
}

// fits refuses what exceeds a quota, in the order and the words of Cinder.
func (c *Cloud) fits(p *project, kind *volumeType, asked map[string]int) error {
	used := c.used(p)
	if asked["volumes"] > 0 && p.limit("per_volume_gigabytes") >= 0 && asked["gigabytes"] > p.limit("per_volume_gigabytes") {
		return overLimit("VolumeSizeExceedsLimit: Requested volume size %dG is larger than maximum allowed limit %dG.", asked["gigabytes"], p.limit("per_volume_gigabytes"))
	}
	for _, what := range []string{"gigabytes", "snapshots", "volumes"} {
		for _, name := range []string{what, what + "_" + kind.name} {
			limit := p.limit(name)
			if asked[what] == 0 || limit < 0 || used[name]+asked[what] <= limit {
				continue
			}
			switch what {
			case "gigabytes":
				return overLimit("VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed %s quota. Requested %dG, quota is %dG and %dG has been consumed.",
					name, asked[what], limit, used[name])
			case "snapshots":
				return overLimit("SnapshotLimitExceeded: Maximum number of snapshots allowed (%d) exceeded", limit)
			default:
				return overLimit("VolumeLimitExceeded: Maximum number of volumes allowed (%d) exceeded for quota '%s'.", limit, name)
			}
		}
	}
	return nil
}

// showQuotas answers GET /os-quota-sets/{project}.
func (c *Cloud) showQuotas(cl *call, path []string) (answer, error) {
	p := c.projectByID(path[1])
	if !cl.sees(path[1]) {
		return answer{}, forbidden("volume_extension:quotas:show")
	}
	if p == nil {
		return answer{}, fault(http.StatusNotFound, "Project %s could not be found.", path[1])
	}
	names := []string{"volumes", "snapshots", "gigabytes", "backups", "backup_gigabytes", "groups", "per_volume_gigabytes"}
	for _, t := range c.types {
		names = append(names, "volumes_"+t.name, "snapshots_"+t.name, "gigabytes_"+t.name)
	}
	used, set := c.used(p), map[string]any{"id": p.ID}
	for _, name := range names {
		if !boolOf(cl.query.Get("usage")) {
			set[name] = p.limit(name)
			continue
		}
		set[name] = map[string]any{"limit": p.limit(name), "in_use": used[name], "reserved": 0}
	}
	return ok(map[string]any{"quota_set": set}), nil
}

// showLimits answers GET /limits of the caller's project.
func (c *Cloud) showLimits(cl *call, _ []string) (answer, error) {
	p := cl.token.project
	used := c.used(p)
	return ok(map[string]any{"limits": map[string]any{"rate": []any{}, "absolute": map[string]any{
		"maxTotalVolumes": p.limit("volumes"), "maxTotalSnapshots": p.limit("snapshots"), "maxTotalVolumeGigabytes": p.limit("gigabytes"),
		"maxTotalBackups": p.limit("backups"), "maxTotalBackupGigabytes": p.limit("backup_gigabytes"),
		"totalVolumesUsed": used["volumes"], "totalGigabytesUsed": used["gigabytes"], "totalSnapshotsUsed": used["snapshots"],
		"totalBackupsUsed": 0, "totalBackupGigabytesUsed": 0,
	}}}), nil
}

// AddType adds a volume type after those that are there.
func (c *Cloud) AddType(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.types = append(c.types, &volumeType{id: c.newID(), name: name})
}

func typeView(t *volumeType) map[string]any {
	specs := map[string]any{}
	if t.multiattach {
		specs["multiattach"] = "<is> True"
	}
	var description any
	if t.name == "__DEFAULT__" {
		description = "Default Volume Type"
	}
	return map[string]any{"id": t.id, "name": t.name, "is_public": true, "description": description, "extra_specs": specs, "os-volume-type-access:is_public": true}
}

// listTypes answers GET /types; the first is the default, as GET /types/default
// tells.
func (c *Cloud) listTypes(*call, []string) (answer, error) {
	list := []any{}
	for _, t := range c.types {
		list = append(list, typeView(t))
	}
	return ok(map[string]any{"volume_types": list}), nil
}

func (c *Cloud) showType(_ *call, path []string) (answer, error) {
	for i, t := range c.types {
		if t.id == path[1] || i == 0 && path[1] == "default" {
			view := typeView(t)
			delete(view, "os-volume-type-access:is_public")
			return ok(map[string]any{"volume_type": view}), nil
		}
	}
	return answer{}, fault(http.StatusNotFound, "Volume type %s could not be found.", path[1])
}

func (c *Cloud) listZones(*call, []string) (answer, error) {
	list := []any{}
	for _, z := range c.zones {
		list = append(list, map[string]any{"zoneName": z, "zoneState": map[string]any{"available": true}})
	}
	return ok(map[string]any{"availabilityZoneInfo": list}), nil
}

// messageKeep is Cinder's message_ttl.
const messageKeep = 30 * 24 * time.Hour

func (c *Cloud) messageView(cl *call, m *message) map[string]any {
	return map[string]any{
		"id": m.id, "event_id": m.event, "user_message": m.text, "message_level": "ERROR", "created_at": naive(m.created),
		"guaranteed_until": naive(m.created.Add(messageKeep)), "request_id": m.request, "resource_type": m.kind, "resource_uuid": m.resource,
		"links": c.links(cl, "messages", m.id),
	}
}

// listMessages answers GET /messages, the newest first; since 3.3, and with
// filters, sorting and pages since 3.5.
func (c *Cloud) listMessages(cl *call, _ []string) (answer, error) {
	if cl.minor < 3 {
		return answer{}, fault(http.StatusNotFound, "The resource could not be found.")
	}
	filters := cl.query
	marker := filters.Get("marker")
	l, err := cl.paging(filters, "messages", "Message")
	if err != nil {
		return answer{}, err
	}
	if err := cl.checkFilters(filters, "message"); err != nil {
		return answer{}, err
	}
	rows := []*row{}
	for _, m := range c.messages {
		if m.project == cl.token.project.ID && (cl.minor < 5 || m.has(filters.Get)) {
			rows = append(rows, c.messageRow(cl, m))
		}
	}
	if i := slices.IndexFunc(rows, func(r *row) bool { return r.id == marker }); i >= 0 {
		l.marker = rows[i]
	} else if marker != "" {
		return answer{}, fault(http.StatusNotFound, "Message %s could not be found.", marker)
	}
	return c.answerPage(cl, l, rows, true, false)
}

func (c *Cloud) messageRow(cl *call, m *message) *row {
	columns := func(name string) (any, bool) {
		switch name {
		case "id":
			return m.id, true
		case "created_at":
			return m.created, true
		case "resource_type":
			return m.kind, true
		case "resource_uuid":
			return m.resource, true
		case "event_id":
			return m.event, true
		}
		return nil, false
	}
	return &row{id: m.id, columns: columns, render: func(bool) map[string]any { return c.messageView(cl, m) }}
}

func (m *message) has(filter func(string) string) bool {
	for name, value := range map[string]string{
		"resource_uuid": m.resource, "resource_type": m.kind, "event_id": m.event, "request_id": m.request, "message_level": "ERROR",
	} {
		if want := filter(name); want != "" && want != value {
			return false
		}
	}
	return true
}

func (c *Cloud) showMessage(cl *call, path []string) (answer, error) {
	for _, m := range c.messages {
		if m.id == path[1] && cl.sees(m.project) && cl.minor >= 3 {
			return ok(map[string]any{"message": c.messageView(cl, m)}), nil
		}
	}
	return answer{}, fault(http.StatusNotFound, "Message %s could not be found.", path[1])
}

// listAttachments answers GET /attachments, since 3.27.
func (c *Cloud) listAttachments(cl *call, _ []string) (answer, error) {
	if cl.minor < 27 {
		return answer{}, fault(http.StatusNotFound, "The resource could not be found.")
	}
	list := []any{}
	for _, v := range c.volumes {
		if !cl.sees(v.project) || cl.query.Has("volume_id") && cl.query.Get("volume_id") != v.id {
			continue
		}
		for _, a := range v.attachments {
			status := "attached"
			if a.attached.IsZero() {
				status = "reserved"
			}
			list = append(list, map[string]any{"id": a.id, "status": status, "instance": a.server, "volume_id": v.id})
		}
	}
	return ok(map[string]any{"attachments": list}), nil
}

func (c *Cloud) listServices(cl *call, _ []string) (answer, error) {
	if err := cl.administers("volume_extension:services:index"); err != nil {
		return answer{}, err
	}
	list := []any{}
	for _, s := range []struct{ binary, host string }{{"cinder-scheduler", "lab"}, {"cinder-volume", "lab@ceph"}} {
		list = append(list, map[string]any{
			"binary": s.binary, "host": s.host, "zone": c.zones[0], "status": "enabled", "state": "up", "updated_at": naive(c.stamp()),
			"disabled_reason": nil,
		})
	}
	return ok(map[string]any{"services": list}), nil
}

// listFilters answers GET /resource_filters, since 3.33.
func (c *Cloud) listFilters(cl *call, _ []string) (answer, error) {
	if cl.minor < 33 {
		return answer{}, fault(http.StatusNotFound, "The resource could not be found.")
	}
	list := []any{}
	for _, resource := range []string{"snapshot", "volume"} {
		if asked := cl.query.Get("resource"); asked == "" || asked == resource {
			list = append(list, map[string]any{"resource": resource, "filters": resourceFilters[resource]})
		}
	}
	return ok(map[string]any{"resource_filters": list}), nil
}

func (c *Cloud) listExtensions(*call, []string) (answer, error) {
	return ok(map[string]any{"extensions": []any{map[string]any{
		"name": "AdminActions", "alias": "os-admin-actions", "description": "Enable admin actions.", "updated": "2012-08-25T00:00:00+00:00", "links": []any{},
	}}}), nil
}

func (c *Cloud) listPools(cl *call, _ []string) (answer, error) {
	if err := cl.administers("scheduler_extension:scheduler_stats:get_pools"); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"pools": []any{map[string]any{
		"name": "lab@ceph#ceph", "capabilities": map[string]any{"total_capacity_gb": 60, "free_capacity_gb": 50, "volume_backend_name": "ceph"},
	}}}), nil
}

func (c *Cloud) listManageable(cl *call, _ []string) (answer, error) {
	if err := cl.administers("snapshot_extension:list_manageable"); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"manageable-snapshots": []any{}}), nil
}
