package openstacktest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// glance answers the Image API under /image.
func (c *Cloud) glance(cl *call) (response, error) {
	route := cl.method + " " + strings.Join(cl.path, "/")
	if route == "GET " || route == "GET" {
		return response{status: http.StatusMultipleChoices, body: map[string]any{"versions": []any{map[string]any{
			"id": "v2.15", "status": "CURRENT", "links": []any{map[string]any{"rel": "self", "href": c.server.URL + "/image/v2/"}},
		}}}}, nil
	}
	if err := c.authenticate(cl); err != nil {
		return response{}, err
	}
	if route != "GET v2/images" {
		return response{}, noRoute()
	}
	limit := atoi(cl.query.Get("limit"))
	if limit < 0 || limit > c.opts.MaxPageSize {
		limit = 25
	}
	var all []*image
	for _, i := range c.images {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b *image) int { return older(b.created, a.created, b.id, a.id) })
	if marker := cl.query.Get("marker"); marker != "" {
		at := slices.IndexFunc(all, func(i *image) bool { return i.id == marker })
		if at < 0 {
			return response{status: http.StatusBadRequest, body: "<html><head><title>400 Bad Request</title></head><body>Invalid marker</body></html>",
				header: map[string]string{"Content-Type": "text/html"}}, nil
		}
		all = all[at+1:]
	}
	list := []any{}
	for _, i := range all[:min(limit, len(all))] {
		list = append(list, imageView(i))
	}
	body := map[string]any{"images": list, "first": "/v2/images?limit=" + itoa(limit), "schema": "/v2/schemas/images"}
	if len(list) == limit && limit > 0 {
		body["next"] = "/v2/images?limit=" + itoa(limit) + "&marker=" + all[limit-1].id
	}
	return okResponse(body), nil
}

func imageView(i *image) map[string]any {
	at := i.created.UTC().Format(time.RFC3339)
	return map[string]any{
		"id": i.id, "name": i.name, "disk_format": "raw", "container_format": "bare", "visibility": "public", "size": len(i.content),
		"virtual_size": len(i.content), "status": i.status, "checksum": nil, "protected": false, "min_ram": 0, "min_disk": 0, "owner": i.owner,
		"os_hidden": false, "os_hash_algo": nil, "os_hash_value": nil, "created_at": at, "updated_at": at, "tags": []any{},
		"self": "/v2/images/" + i.id, "file": "/v2/images/" + i.id + "/file", "schema": "/v2/schemas/image",
	}
}
