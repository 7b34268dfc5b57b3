package openstacktest

import "net/http"

// AddType adds a volume type after the others.
func (c *Cloud) AddType(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.types = append(c.types, &volumeType{id: c.newID(), name: name})
}

// AddZone adds an availability zone to the first one, nova.
func (c *Cloud) AddZone(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zones = append(c.zones, name)
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

// listTypes answers GET /types; the first is the default.
func (c *Cloud) listTypes(*call, []string) (response, error) {
	list := []any{}
	for _, t := range c.types {
		list = append(list, typeView(t))
	}
	return okResponse(map[string]any{"volume_types": list}), nil
}

func (c *Cloud) showType(_ *call, path []string) (response, error) {
	for i, t := range c.types {
		if t.id == path[1] || i == 0 && path[1] == "default" {
			view := typeView(t)
			delete(view, "os-volume-type-access:is_public")
			return okResponse(map[string]any{"volume_type": view}), nil
		}
	}
	return response{}, faultf(http.StatusNotFound, "Volume type %s could not be found.", path[1])
}

func (c *Cloud) typeNamed(nameOrID string) *volumeType {
	for _, t := range c.types {
		if t.name == nameOrID || t.id == nameOrID {
			return t
		}
	}
	return c.types[0]
}

func (c *Cloud) listZones(*call, []string) (response, error) {
	list := []any{}
	for _, z := range c.zones {
		list = append(list, map[string]any{"zoneName": z, "zoneState": map[string]any{"available": true}})
	}
	return okResponse(map[string]any{"availabilityZoneInfo": list}), nil
}
