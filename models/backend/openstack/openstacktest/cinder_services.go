package openstacktest

import "net/http"

// listAttachments answers GET /attachments, since 3.27.
func (c *Cloud) listAttachments(cl *call, _ []string) (response, error) {
	if cl.minor < 27 {
		return response{}, faultf(http.StatusNotFound, "The resource could not be found.")
	}
	list := []any{}
	for _, v := range c.volumes {
		if !cl.canSee(v.project) || cl.query.Has("volume_id") && cl.query.Get("volume_id") != v.id {
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
	return okResponse(map[string]any{"attachments": list}), nil
}

func (c *Cloud) listServices(cl *call, _ []string) (response, error) {
	if err := cl.requireAdmin("volume_extension:services:index"); err != nil {
		return response{}, err
	}
	list := []any{}
	for _, s := range []struct{ binary, host string }{{"cinder-scheduler", "lab"}, {"cinder-volume", "lab@ceph"}} {
		list = append(list, map[string]any{
			"binary": s.binary, "host": s.host, "zone": c.zones[0], "status": "enabled", "state": "up", "updated_at": cinderTime(c.nowSeconds()),
			"disabled_reason": nil,
		})
	}
	return okResponse(map[string]any{"services": list}), nil
}

// listFilters answers GET /resource_filters, since 3.33.
func (c *Cloud) listFilters(cl *call, _ []string) (response, error) {
	if cl.minor < 33 {
		return response{}, faultf(http.StatusNotFound, "The resource could not be found.")
	}
	list := []any{}
	for _, resource := range []string{"snapshot", "volume"} {
		if asked := cl.query.Get("resource"); asked == "" || asked == resource {
			list = append(list, map[string]any{"resource": resource, "filters": resourceFilters[resource]})
		}
	}
	return okResponse(map[string]any{"resource_filters": list}), nil
}

func (c *Cloud) listExtensions(*call, []string) (response, error) {
	return okResponse(map[string]any{"extensions": []any{map[string]any{
		"name": "AdminActions", "alias": "os-admin-actions", "description": "Enable admin actions.", "updated": "2012-08-25T00:00:00+00:00", "links": []any{},
	}}}), nil
}

func (c *Cloud) listPools(cl *call, _ []string) (response, error) {
	if err := cl.requireAdmin("scheduler_extension:scheduler_stats:get_pools"); err != nil {
		return response{}, err
	}
	return okResponse(map[string]any{"pools": []any{map[string]any{
		"name": "lab@ceph#ceph", "capabilities": map[string]any{"total_capacity_gb": 60, "free_capacity_gb": 50, "volume_backend_name": "ceph"},
	}}}), nil
}

func (c *Cloud) listManageable(cl *call, _ []string) (response, error) {
	if err := cl.requireAdmin("snapshot_extension:list_manageable"); err != nil {
		return response{}, err
	}
	return okResponse(map[string]any{"manageable-snapshots": []any{}}), nil
}
