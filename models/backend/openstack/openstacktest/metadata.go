package openstacktest

import (
	"maps"
	"net/http"
)

// metadataOf answers for the metadata of a volume or snapshot: all of it (GET,
// POST to merge, PUT to replace) or one item (PUT, DELETE).
func metadataOf(kind string) handler {
	return func(c *Cloud, cl *call, path []string) (answer, error) {
		metadata, title, err := c.metadata(cl, kind, path[1])
		if err != nil {
			return answer{}, err
		}
		switch {
		case cl.method == http.MethodGet:
			return ok(map[string]any{"metadata": cloned(*metadata)}), nil
		case cl.method == http.MethodDelete:
			if _, there := (*metadata)[path[3]]; !there {
				return answer{}, fault(http.StatusNotFound, "%s %s has no metadata with key %s.", title, path[1], path[3])
			}
			delete(*metadata, path[3])
			return answer{status: http.StatusOK, header: map[string]string{"Content-Type": "text/html; charset=UTF-8"}}, nil
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

func (c *Cloud) putMetadata(cl *call, path []string, metadata *map[string]string) (answer, error) {
	field := "metadata"
	if len(path) == 4 {
		field = "meta"
	}
	given, err := metadataField(cl.body, field)
	if err != nil {
		return answer{}, err
	}
	if len(path) == 4 {
		if _, there := given[path[3]]; !there || len(given) != 1 {
			return answer{}, fault(http.StatusBadRequest, "Request body and URI mismatch")
		}
	}
	if cl.method == http.MethodPut && len(path) == 3 {
		*metadata = given
	} else {
		maps.Copy(*metadata, given)
	}
	if len(path) == 4 {
		return ok(map[string]any{"meta": given}), nil
	}
	return ok(map[string]any{"metadata": cloned(*metadata)}), nil
}
