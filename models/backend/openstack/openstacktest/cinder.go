package openstacktest

import (
	"net/http"
	"regexp"
	"strings"
)

var projectInPath = regexp.MustCompile(`^[0-9a-f]{32}$`)

// cinder answers the Block Storage API under /volume.
func (c *Cloud) cinder(cl *call) (response, error) {
	if len(cl.path) == 0 || cl.path[0] == "" {
		header := map[string]string{"OpenStack-API-Version": "volume 3.0", "Vary": "OpenStack-API-Version"}
		return response{status: http.StatusMultipleChoices, body: c.cinderVersion(), header: header}, nil
	}
	if cl.path[0] != "v3" {
		return response{}, noRoute()
	}
	if err := c.authenticate(cl); err != nil {
		return response{}, err
	}
	path := cl.path[1:]
	named := len(path) > 0 && projectInPath.MatchString(path[0])
	if named {
		path = path[1:]
	}
	if len(path) == 0 && named {
		return response{}, noRoute()
	}
	if len(path) == 0 {
		header, err := cl.microversion("volume", 3, 0, c.opts.Cinder)
		return withHeaders(header, okResponse(c.cinderVersion()), err)
	}
	handle := cinderRoute(cl.method, path)
	if handle == nil {
		return response{}, noRoute()
	}
	header, err := cl.microversion("volume", 3, 0, c.opts.Cinder)
	if err != nil {
		return withHeaders(header, response{}, err)
	}
	if named && cl.path[1] != cl.token.project.ID {
		return withHeaders(header, response{}, faultf(http.StatusBadRequest, "Malformed request url"))
	}
	if cl.method == http.MethodPost || cl.method == http.MethodPut {
		if err := cl.parse(); err != nil {
			return withHeaders(header, response{}, err)
		}
	}
	a, err := handle(c, cl, path)
	return withHeaders(header, a, err)
}

type handler func(c *Cloud, cl *call, path []string) (response, error)

// cinderRoutes are the routes of Cinder; * is any one path element.
var cinderRoutes = map[string]handler{
	"GET volumes":                     (*Cloud).listVolumes,
	"GET volumes/detail":              (*Cloud).listVolumes,
	"POST volumes":                    (*Cloud).createVolume,
	"GET volumes/*":                   (*Cloud).showVolume,
	"PUT volumes/*":                   (*Cloud).updateVolume,
	"DELETE volumes/*":                (*Cloud).deleteVolume,
	"POST volumes/*/action":           (*Cloud).actOnVolume,
	"GET volumes/*/metadata":          metadataOf("volume"),
	"POST volumes/*/metadata":         metadataOf("volume"),
	"PUT volumes/*/metadata":          metadataOf("volume"),
	"PUT volumes/*/metadata/*":        metadataOf("volume"),
	"DELETE volumes/*/metadata/*":     metadataOf("volume"),
	"GET snapshots":                   (*Cloud).listSnapshots,
	"GET snapshots/detail":            (*Cloud).listSnapshots,
	"POST snapshots":                  (*Cloud).createSnapshot,
	"GET snapshots/*":                 (*Cloud).showSnapshot,
	"PUT snapshots/*":                 (*Cloud).updateSnapshot,
	"DELETE snapshots/*":              (*Cloud).deleteSnapshot,
	"POST snapshots/*/action":         (*Cloud).actOnSnapshot,
	"GET snapshots/*/metadata":        metadataOf("snapshot"),
	"POST snapshots/*/metadata":       metadataOf("snapshot"),
	"PUT snapshots/*/metadata":        metadataOf("snapshot"),
	"PUT snapshots/*/metadata/*":      metadataOf("snapshot"),
	"DELETE snapshots/*/metadata/*":   metadataOf("snapshot"),
	"GET types":                       (*Cloud).listTypes,
	"GET types/*":                     (*Cloud).showType,
	"GET os-availability-zone":        (*Cloud).listZones,
	"GET limits":                      (*Cloud).showLimits,
	"GET os-quota-sets/*":             (*Cloud).showQuotas,
	"GET messages":                    (*Cloud).listMessages,
	"GET messages/*":                  (*Cloud).showMessage,
	"GET attachments":                 (*Cloud).listAttachments,
	"GET os-services":                 (*Cloud).listServices,
	"GET resource_filters":            (*Cloud).listFilters,
	"GET extensions":                  (*Cloud).listExtensions,
	"GET scheduler-stats/get_pools":   (*Cloud).listPools,
	"GET manageable_snapshots":        (*Cloud).listManageable,
	"GET manageable_snapshots/detail": (*Cloud).listManageable,
}

// cinderRoute finds the handler of a path, or nil.
func cinderRoute(method string, path []string) handler {
	if h := cinderRoutes[method+" "+strings.Join(path, "/")]; h != nil {
		return h
	}
	pattern := append([]string(nil), path...)
	for i := 1; i < len(pattern); i += 2 {
		pattern[i] = "*"
	}
	return cinderRoutes[method+" "+strings.Join(pattern, "/")]
}

func (c *Cloud) cinderVersion() map[string]any {
	return map[string]any{"versions": []any{map[string]any{
		"id": "v3.0", "status": "CURRENT", "version": "3." + itoa(c.opts.Cinder), "min_version": "3.0", "updated": "2022-08-31T00:00:00Z",
		"links": []any{
			map[string]any{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
			map[string]any{"rel": "self", "href": c.server.URL + "/volume/v3/"},
		},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}},
	}}}
}

// links are the links of one object, with the project when the request's URL has it.
func (c *Cloud) links(cl *call, collection, id string) []any {
	project := ""
	if projectInPath.MatchString(cl.path[1]) {
		project = "/" + cl.path[1]
	}
	base := c.server.URL + "/volume"
	return []any{
		map[string]any{"rel": "self", "href": base + "/v3" + project + "/" + collection + "/" + id},
		map[string]any{"rel": "bookmark", "href": base + project + "/" + collection + "/" + id},
	}
}

// canSee says whether the caller may see the objects of a project.
func (cl *call) canSee(project string) bool {
	return cl.token.hasRole("admin") || cl.token.project.ID == project
}

// checkWriter refuses readers with Options.EnforceReaders.
func (c *Cloud) checkWriter(cl *call, policy string) error {
	if c.opts.EnforceReaders && !cl.token.hasRole("member") && !cl.token.hasRole("admin") {
		return forbidden(policy)
	}
	return nil
}

// requireAdmin refuses callers without the role admin.
func (cl *call) requireAdmin(policy string) error {
	if !cl.token.hasRole("admin") {
		return forbidden(policy)
	}
	return nil
}

func forbidden(policy string) error {
	return faultf(http.StatusForbidden, "Policy doesn't allow %s to be performed.", policy)
}

func (c *Cloud) volume(cl *call, id string) (*volume, error) {
	v := c.volumes[id]
	if v == nil || !cl.canSee(v.project) {
		return nil, faultf(http.StatusNotFound, "Volume %s could not be found.", id)
	}
	return v, nil
}

func (c *Cloud) snapshot(cl *call, id string) (*snapshot, error) {
	s := c.snapshots[id]
	if s == nil || !cl.canSee(s.project) {
		return nil, faultf(http.StatusNotFound, "Snapshot %s could not be found.", id)
	}
	return s, nil
}

func noAction(cl *call) error {
	for name := range cl.body {
		return faultf(http.StatusBadRequest, "There is no such action: %s. Verify the request body and Content-Type header and try again.", name)
	}
	return faultf(http.StatusBadRequest, "Malformed request body")
}
