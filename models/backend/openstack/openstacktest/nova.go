package openstacktest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// nova answers the Compute API under /compute.
func (c *Cloud) nova(cl *call) (response, error) {
	route := cl.method + " " + strings.Join(cl.path, "/")
	if route == "GET " || route == "GET" {
		return okResponse(map[string]any{"versions": []any{
			map[string]any{
				"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z",
				"links": []any{map[string]any{"rel": "self", "href": c.server.URL + "/compute/v2/"}},
			},
			c.novaVersion(),
		}}), nil
	}
	if cl.path[0] != "v2.1" {
		return response{}, noRoute()
	}
	if len(cl.path) == 1 {
		version := c.novaVersion()
		version["media-types"] = []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}}
		return okResponse(map[string]any{"version": version}), nil
	}
	if err := c.authenticate(cl); err != nil {
		return response{}, err
	}
	if legacy := cl.raw.Header.Get("X-OpenStack-Nova-API-Version"); legacy != "" && cl.raw.Header.Get("OpenStack-API-Version") == "" {
		cl.raw.Header.Set("OpenStack-API-Version", "compute "+legacy)
	}
	header, err := cl.microversion("compute", 2, 1, c.opts.Nova)
	if header == nil {
		return response{}, err
	}
	header["Vary"] += ", X-OpenStack-Nova-API-Version"
	header["X-OpenStack-Nova-API-Version"] = strings.TrimPrefix(header["OpenStack-API-Version"], "compute ")
	if err != nil {
		return withHeaders(header, response{}, err)
	}
	a, err := c.novaResource(cl, cl.path[1:])
	return withHeaders(header, a, err)
}

func (c *Cloud) novaVersion() map[string]any {
	return map[string]any{
		"id": "v2.1", "status": "CURRENT", "version": "2." + itoa(c.opts.Nova), "min_version": "2.1", "updated": "2013-07-23T11:33:21Z",
		"links": []any{map[string]any{"rel": "self", "href": c.server.URL + "/compute/v2.1/"}},
	}
}

func (c *Cloud) novaResource(cl *call, path []string) (response, error) {
	if path[0] != "servers" {
		return response{}, noRoute()
	}
	if len(path) == 1 || len(path) == 2 && path[1] == "detail" {
		if cl.method == http.MethodPost && len(path) == 1 {
			return c.createServer(cl)
		}
		if cl.method != http.MethodGet {
			return response{}, faultf(http.StatusMethodNotAllowed, "The method is not allowed for this resource.")
		}
		return c.listServers(cl, len(path) == 2)
	}
	s := c.servers[path[1]]
	if s == nil || !cl.canSee(s.project) {
		return response{}, faultf(http.StatusNotFound, "Instance %s could not be found.", path[1])
	}
	switch {
	case len(path) == 2 && cl.method == http.MethodGet:
		return okResponse(map[string]any{"server": c.serverView(cl, s)}), nil
	case len(path) == 2 && cl.method == http.MethodDelete:
		return c.deleteServer(s), nil
	case len(path) == 3 && path[2] == "os-volume_attachments" && cl.method == http.MethodGet:
		return c.listServerVolumes(cl, s), nil
	case len(path) == 3 && path[2] == "os-volume_attachments" && cl.method == http.MethodPost:
		return c.attachVolume(cl, s)
	case len(path) == 4 && path[2] == "os-volume_attachments" && cl.method == http.MethodGet:
		return c.showServerVolume(cl, s, path[3])
	case len(path) == 4 && path[2] == "os-volume_attachments" && cl.method == http.MethodDelete:
		return c.detachVolume(s, path[3], cl)
	}
	return response{}, noRoute()
}

// listServers answers GET /servers and /servers/detail.
func (c *Cloud) listServers(cl *call, detail bool) (response, error) {
	filters := cl.query
	if limit := filters.Get("limit"); filters.Has("limit") && (atoi(limit) < 0) {
		return response{}, faultf(http.StatusBadRequest, "Invalid input for query parameters limit. Value: %s. '%s' does not match '^[0-9]*$'", limit, limit)
	}
	marker := filters.Get("marker")
	l, err := cl.parsePaging(filters, "servers", "Server")
	if err != nil {
		return response{}, err
	}
	all := cl.token.hasRole("admin") && parseBool(filters.Get("all_tenants"))
	if parseBool(filters.Get("all_tenants")) && !all {
		return response{}, forbidden("os_compute_api:servers:detail:get_all_tenants")
	}
	rows := []*row{}
	for _, s := range c.servers {
		if (all || s.project == cl.token.project.ID) && (filters.Get("status") == "" || strings.EqualFold(filters.Get("status"), s.status)) {
			rows = append(rows, c.serverRow(cl, s))
		}
	}
	if i := slices.IndexFunc(rows, func(r *row) bool { return r.id == marker }); i >= 0 {
		l.marker = rows[i]
	} else if marker != "" {
		return response{}, faultf(http.StatusBadRequest, "marker [%s] not found", marker)
	}
	return c.pageResponse(cl, l, rows, detail, false)
}

func (c *Cloud) serverRow(cl *call, s *server) *row {
	columns := func(name string) (any, bool) {
		switch name {
		case "id", "uuid":
			return s.id, true
		case "created_at":
			return s.created, true
		case "display_name":
			return s.name, true
		}
		return nil, false
	}
	return &row{id: s.id, columns: columns, render: func(detail bool) map[string]any {
		if detail {
			return c.serverView(cl, s)
		}
		return map[string]any{"id": s.id, "name": s.name, "links": c.serverLinks(s)}
	}}
}

func (c *Cloud) serverLinks(s *server) []any {
	return []any{
		map[string]any{"rel": "self", "href": c.server.URL + "/compute/v2.1/servers/" + s.id},
		map[string]any{"rel": "bookmark", "href": c.server.URL + "/compute/servers/" + s.id},
	}
}

// serverView is a server in JSON; later microversions have more fields, from 2.47 on with
// the whole flavor.
func (c *Cloud) serverView(cl *call, s *server) map[string]any {
	volumes := []any{}
	for _, v := range c.volumesOf(s.id) {
		one := map[string]any{"id": v.id}
		if cl.minor >= 3 {
			one["delete_on_termination"] = false
		}
		volumes = append(volumes, one)
	}
	created := s.created.UTC().Format(time.RFC3339)
	view := map[string]any{
		"id": s.id, "name": s.name, "status": s.status, "tenant_id": s.project, "user_id": s.user, "metadata": map[string]any{},
		"hostId": "508a4d92063213ad76745d68fe83c1c815b1897d53c229617c914a1d", "image": serverImage(c, s), "created": created, "updated": created,
		"flavor":    map[string]any{"vcpus": 1, "ram": 64, "disk": 1, "ephemeral": 0, "swap": 0, "original_name": "tiny", "extra_specs": map[string]any{}},
		"addresses": map[string]any{}, "accessIPv4": "", "accessIPv6": "", "links": c.serverLinks(s), "OS-DCF:diskConfig": "MANUAL", "progress": 0,
		"OS-EXT-AZ:availability_zone": c.zones[0], "config_drive": "", "key_name": nil, "OS-SRV-USG:launched_at": cinderTime(s.created),
		"OS-SRV-USG:terminated_at": nil, "OS-EXT-STS:task_state": nil, "OS-EXT-STS:vm_state": strings.ToLower(s.status), "OS-EXT-STS:power_state": 1,
		"os-extended-volumes:volumes_attached": volumes,
	}
	for since, fields := range map[int]map[string]any{
		9: {"locked": false}, 19: {"description": nil}, 26: {"tags": []any{}}, 63: {"trusted_image_certificates": nil}, 71: {"server_groups": []any{}},
		73: {"locked_reason": nil}, 90: {"OS-EXT-SRV-ATTR:hostname": strings.ToLower(s.name)},
	} {
		for name, value := range fields {
			if cl.minor >= since {
				view[name] = value
			}
		}
	}
	if cl.token.hasRole("admin") {
		view["OS-EXT-SRV-ATTR:host"], view["OS-EXT-SRV-ATTR:hypervisor_hostname"], view["OS-EXT-SRV-ATTR:instance_name"] = "lab", "lab", "instance-00000001"
	}
	if cl.minor < 47 {
		view["flavor"] = map[string]any{"id": "1", "links": []any{map[string]any{"rel": "bookmark", "href": c.server.URL + "/compute/flavors/1"}}}
	}
	return view
}

// volumesOf are the volumes with an attachment to a server in any state, in the order of
// their devices.
func (c *Cloud) volumesOf(server string) []*volume {
	var list []*volume
	for _, v := range c.volumes {
		if v.attachmentTo(server) != nil {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b *volume) int {
		return strings.Compare(a.attachmentTo(server).device, b.attachmentTo(server).device)
	})
	return list
}

// serverImage is "" for a server that boots from a volume.
func serverImage(c *Cloud, s *server) any {
	if s.image == "" {
		return ""
	}
	return map[string]any{"id": s.image, "links": []any{map[string]any{"rel": "bookmark", "href": c.server.URL + "/compute/images/" + s.image}}}
}
