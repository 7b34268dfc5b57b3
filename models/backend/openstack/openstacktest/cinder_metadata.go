package openstacktest

import (
	"maps"
	"net/http"
)

// metadataOf answers the metadata of a volume or snapshot: all items (GET, POST to merge,
// PUT to replace) or one (PUT, DELETE).
func metadataOf(kind string) handler {
	return func(c *Cloud, cl *call, path []string) (response, error) {
		metadata, title, err := c.metadata(cl, kind, path[1])
		if err != nil {
			return response{}, err
		}
		switch {
		case cl.method == http.MethodGet:
			return okResponse(map[string]any{"metadata": cloneMap(*metadata)}), nil
		case cl.method == http.MethodDelete:
			if _, there := (*metadata)[path[3]]; !there {
				return response{}, faultf(http.StatusNotFound, "%s %s has no metadata with key %s.", title, path[1], path[3])
			}
			delete(*metadata, path[3])
			return response{status: http.StatusOK, header: map[string]string{"Content-Type": "text/html; charset=UTF-8"}}, nil
		}
		return c.putMetadata(cl, path, metadata)
	}
}

func (c *Cloud) metadata(cl *call, kind, id string) (metadata *map[string]string, title string, err error) {
	if kind == "volume" {
		v, err := c.volume(cl, id)
		if err != nil {
			return nil, "", err
		}
		return &v.metadata, "Volume", nil
	}
	s, err := c.snapshot(cl, id)
	if err != nil {
		return nil, "", err
	}
	return &s.metadata, "Snapshot", nil
}

func (c *Cloud) putMetadata(cl *call, path []string, metadata *map[string]string) (response, error) {
	field := "metadata"
	if len(path) == 4 {
		field = "meta"
	}
	given, err := metadataField(cl.body, field)
	if err != nil {
		return response{}, err
	}
	if len(path) == 4 {
		if _, there := given[path[3]]; !there || len(given) != 1 {
			return response{}, faultf(http.StatusBadRequest, "Request body and URI mismatch")
		}
	}
	if cl.method == http.MethodPut && len(path) == 3 {
		*metadata = given
	} else {
		maps.Copy(*metadata, given)
	}
	if len(path) == 4 {
		return okResponse(map[string]any{"meta": given}), nil
	}
	return okResponse(map[string]any{"metadata": cloneMap(*metadata)}), nil
}
