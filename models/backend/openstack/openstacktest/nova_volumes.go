package openstacktest

import (
	"net/http"
	"slices"
)

func attachmentView(cl *call, s *server, v *volume) map[string]any {
	view := map[string]any{"id": v.id, "serverId": s.id, "volumeId": v.id, "device": v.on(s.id).device}
	if cl.minor >= 70 {
		view["tag"] = nil
	}
	if cl.minor >= 79 {
		view["delete_on_termination"] = false
	}
	if cl.minor >= 89 {
		view["attachment_id"], view["bdm_uuid"] = v.on(s.id).id, v.on(s.id).id
		delete(view, "id")
	}
	return view
}

// listServerVolumes answers GET /servers/{id}/os-volume_attachments, which knows
// of an attachment as soon as it was asked for.
func (c *Cloud) listServerVolumes(cl *call, s *server) answer {
	list := []any{}
	for _, v := range c.volumesOf(s.id) {
		list = append(list, attachmentView(cl, s, v))
	}
	return ok(map[string]any{"volumeAttachments": list})
}

func (c *Cloud) showServerVolume(cl *call, s *server, id string) (answer, error) {
	v := c.volumes[id]
	if v == nil || v.on(s.id) == nil {
		return answer{}, fault(http.StatusNotFound, "Instance %s is not attached to volume %s", s.id, id)
	}
	return ok(map[string]any{"volumeAttachment": attachmentView(cl, s, v)}), nil
}

// attachVolume answers POST /servers/{id}/os-volume_attachments: the volume is
// reserved at once and in-use later.
func (c *Cloud) attachVolume(cl *call, s *server) (answer, error) {
	if err := cl.parse(); err != nil {
		return answer{}, err
	}
	part := cl.part("volumeAttachment")
	id, given := part["volumeId"].(string)
	if !given || !uuidPattern.MatchString(id) {
		return answer{}, invalid("volumeId", part["volumeId"], "%s is not a 'uuid'", python(part["volumeId"]))
	}
	v := c.volumes[id]
	if v == nil || !cl.sees(v.project) {
		return answer{}, fault(http.StatusNotFound, "Volume %s could not be found.", id)
	}
	if err := c.attachable(cl, s, v); err != nil {
		return answer{}, err
	}
	a := &attachment{id: c.newID(), server: s.id, device: c.nextDevice(s.id)}
	v.attachments = append(v.attachments, a)
	before := v.status
	v.status, v.updated = "reserved", c.stamp()
	v.task = c.begin(AttachVolume, func() {
		a.attached = c.stamp()
		c.rests(v, "in-use")
	}, func() {
		v.attachments = slices.DeleteFunc(v.attachments, func(one *attachment) bool { return one == a })
		c.rests(v, before)
	})
	view := attachmentView(&call{minor: min(cl.minor, 88)}, s, v)
	return ok(map[string]any{"volumeAttachment": view}), nil
}

// attachable refuses as Nova does before it asks Cinder, and as Cinder does then.
func (c *Cloud) attachable(cl *call, s *server, v *volume) error {
	switch {
	case !slices.Contains([]string{"ACTIVE", "PAUSED", "SUSPENDED", "SHUTOFF", "RESIZE", "VERIFY_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "RESCUE"}, s.status):
		return fault(http.StatusConflict, "Cannot 'attach_volume' instance %s while it is in vm_state %s", s.id, vmState(s.status))
	case v.on(s.id) != nil && v.kind.multiattach:
		return fault(http.StatusBadRequest, "Invalid volume: volume %s already attached", v.id)
	case len(v.attachments) > 0 && !v.kind.multiattach:
		return fault(http.StatusBadRequest, "Invalid volume: volume %s is already attached to instances: %s", v.id, v.attachments[0].server)
	case v.kind.multiattach && cl.minor < 60:
		return fault(http.StatusBadRequest, "Multiattach volumes are only supported starting with compute API version 2.60.")
	case v.status != "available" && (v.status != "in-use" || !v.kind.multiattach):
		return fault(http.StatusBadRequest, "Invalid volume: volume '%s' status must be 'available'. Currently in '%s'", v.id, v.status)
	}
	return nil
}

// vmState is the vm_state behind a server's status.
func vmState(status string) string {
	states := map[string]string{"BUILD": "building", "ERROR": "error", "DELETED": "deleted", "SOFT_DELETED": "soft-delete"}
	if s := states[status]; s != "" {
		return s
	}
	return "active"
}

func (c *Cloud) nextDevice(server string) string {
	var taken []string
	for _, v := range c.volumesOf(server) {
		taken = append(taken, v.on(server).device)
	}
	n := 0
	for slices.Contains(taken, device(n)) {
		n++
	}
	return device(n)
}

// detachVolume answers DELETE /servers/{id}/os-volume_attachments/{volume}.
func (c *Cloud) detachVolume(s *server, id string, cl *call) (answer, error) {
	v := c.volumes[id]
	if v == nil || !cl.sees(v.project) {
		return answer{}, fault(http.StatusNotFound, "Volume %s could not be found.", id)
	}
	a := v.on(s.id)
	switch {
	case a == nil:
		return answer{}, fault(http.StatusNotFound, "Instance %s is not attached to volume %s", s.id, id)
	case vmState(s.status) == "building" || vmState(s.status) == "error":
		return answer{}, fault(http.StatusConflict, "Cannot 'detach_volume' instance %s while it is in vm_state %s", s.id, vmState(s.status))
	case v.status != "in-use" || a.attached.IsZero():
		return answer{}, fault(http.StatusBadRequest, "Invalid volume: Invalid input received: Invalid volume: Unable to detach volume. "+
			"Volume status must be 'in-use' and attach_status must be 'attached' to detach. (HTTP 400) (Request-ID: %s)", cl.id)
	}
	v.status, v.updated, a.leaving = "detaching", c.stamp(), true
	v.task = c.begin(DetachVolume, func() {
		v.attachments = slices.DeleteFunc(v.attachments, func(one *attachment) bool { return one == a })
		c.rests(v, v.resting())
	}, func() {
		a.leaving = false
		c.rests(v, "in-use")
	})
	return answer{status: http.StatusAccepted}, nil
}

// createServer answers POST /servers. The server is ACTIVE at once.
func (c *Cloud) createServer(cl *call) (answer, error) {
	if err := cl.parse(); err != nil {
		return answer{}, err
	}
	name := text(cl.body, "server", "name")
	if name == "" {
		return answer{}, invalid("server", cl.part("server"), "'name' is a required property")
	}
	s := &server{id: c.newID(), name: name, status: "ACTIVE", project: cl.token.project.ID, user: cl.token.user.id, image: text(cl.body, "server", "imageRef"), created: c.stamp()}
	c.servers[s.id] = s
	return answer{
		status: http.StatusAccepted, header: map[string]string{"Location": c.server.URL + "/compute/v2.1/servers/" + s.id},
		body: map[string]any{"server": map[string]any{
			"id": s.id, "links": c.serverLinks(s), "OS-DCF:diskConfig": "MANUAL", "security_groups": []any{map[string]any{"name": "default"}},
			"adminPass": c.hexID()[:12],
		}},
	}, nil
}

// deleteServer answers DELETE /servers/{id}: it is gone at once, and its volumes
// are free.
func (c *Cloud) deleteServer(s *server) answer {
	for _, v := range c.volumesOf(s.id) {
		v.attachments = slices.DeleteFunc(v.attachments, func(a *attachment) bool { return a.server == s.id })
		c.rests(v, v.resting())
	}
	delete(c.servers, s.id)
	return answer{status: http.StatusNoContent}
}
