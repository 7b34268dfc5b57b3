package openstacktest

import (
	"net/http"
	"slices"
)

func attachmentView(cl *call, s *server, v *volume) map[string]any {
	view := map[string]any{"id": v.id, "serverId": s.id, "volumeId": v.id, "device": v.attachmentTo(s.id).device}
	if cl.minor >= 70 {
		view["tag"] = nil
	}
	if cl.minor >= 79 {
		view["delete_on_termination"] = false
	}
	if cl.minor >= 89 {
		view["attachment_id"], view["bdm_uuid"] = v.attachmentTo(s.id).id, v.attachmentTo(s.id).id
		delete(view, "id")
	}
	return view
}

// listServerVolumes answers GET /servers/{id}/os-volume_attachments, which lists reserved
// attachments too.
func (c *Cloud) listServerVolumes(cl *call, s *server) response {
	list := []any{}
	for _, v := range c.volumesOf(s.id) {
		list = append(list, attachmentView(cl, s, v))
	}
	return okResponse(map[string]any{"volumeAttachments": list})
}

func (c *Cloud) showServerVolume(cl *call, s *server, id string) (response, error) {
	v := c.volumes[id]
	if v == nil || v.attachmentTo(s.id) == nil {
		return response{}, faultf(http.StatusNotFound, "Instance %s is not attached to volume %s", s.id, id)
	}
	return okResponse(map[string]any{"volumeAttachment": attachmentView(cl, s, v)}), nil
}

// attachVolume answers POST /servers/{id}/os-volume_attachments: the volume is
// reserved at once and in-use later.
func (c *Cloud) attachVolume(cl *call, s *server) (response, error) {
	if err := cl.parse(); err != nil {
		return response{}, err
	}
	part := cl.part("volumeAttachment")
	id, given := part["volumeId"].(string)
	if !given || !uuidPattern.MatchString(id) {
		return response{}, invalid("volumeId", part["volumeId"], "%s is not a 'uuid'", pythonRepr(part["volumeId"]))
	}
	v := c.volumes[id]
	if v == nil || !cl.canSee(v.project) {
		return response{}, faultf(http.StatusNotFound, "Volume %s could not be found.", id)
	}
	if err := c.checkAttach(cl, s, v); err != nil {
		return response{}, err
	}
	a := &attachment{id: c.newID(), server: s.id, device: c.nextDevice(s.id)}
	v.attachments = append(v.attachments, a)
	before := v.status
	v.status, v.updated = "reserved", c.nowSeconds()
	v.task = c.begin(AttachVolume, func() {
		a.attached = c.nowSeconds()
		c.finishVolume(v, "in-use")
	}, func() {
		v.attachments = slices.DeleteFunc(v.attachments, func(one *attachment) bool { return one == a })
		c.finishVolume(v, before)
	})
	view := attachmentView(&call{minor: min(cl.minor, 88)}, s, v)
	return okResponse(map[string]any{"volumeAttachment": view}), nil
}

// checkAttach has the checks of Nova and then of Cinder.
func (c *Cloud) checkAttach(cl *call, s *server, v *volume) error {
	switch {
	case !slices.Contains([]string{"ACTIVE", "PAUSED", "SUSPENDED", "SHUTOFF", "RESIZE", "VERIFY_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "RESCUE"}, s.status):
		return faultf(http.StatusConflict, "Cannot 'attach_volume' instance %s while it is in vm_state %s", s.id, vmState(s.status))
	case v.attachmentTo(s.id) != nil && v.kind.multiattach:
		return faultf(http.StatusBadRequest, "Invalid volume: volume %s already attached", v.id)
	case len(v.attachments) > 0 && !v.kind.multiattach:
		return faultf(http.StatusBadRequest, "Invalid volume: volume %s is already attached to instances: %s", v.id, v.attachments[0].server)
	case v.kind.multiattach && cl.minor < 60:
		return faultf(http.StatusBadRequest, "Multiattach volumes are only supported starting with compute API version 2.60.")
	case v.status != "available" && (v.status != "in-use" || !v.kind.multiattach):
		return faultf(http.StatusBadRequest, "Invalid volume: volume '%s' status must be 'available'. Currently in '%s'", v.id, v.status)
	}
	return nil
}

// vmState is the vm_state of a server's status.
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
		taken = append(taken, v.attachmentTo(server).device)
	}
	n := 0
	for slices.Contains(taken, device(n)) {
		n++
	}
	return device(n)
}

// detachVolume answers DELETE /servers/{id}/os-volume_attachments/{volume}.
func (c *Cloud) detachVolume(s *server, id string, cl *call) (response, error) {
	v := c.volumes[id]
	if v == nil || !cl.canSee(v.project) {
		return response{}, faultf(http.StatusNotFound, "Volume %s could not be found.", id)
	}
	a := v.attachmentTo(s.id)
	switch {
	case a == nil:
		return response{}, faultf(http.StatusNotFound, "Instance %s is not attached to volume %s", s.id, id)
	case vmState(s.status) == "building" || vmState(s.status) == "error":
		return response{}, faultf(http.StatusConflict, "Cannot 'detach_volume' instance %s while it is in vm_state %s", s.id, vmState(s.status))
	case v.status != "in-use" || a.attached.IsZero():
		return response{}, faultf(http.StatusBadRequest, "Invalid volume: Invalid input received: Invalid volume: Unable to detach volume. "+
			"Volume status must be 'in-use' and attach_status must be 'attached' to detach. (HTTP 400) (Request-ID: %s)", cl.id)
	}
	v.status, v.updated, a.detaching = "detaching", c.nowSeconds(), true
	v.task = c.begin(DetachVolume, func() {
		v.attachments = slices.DeleteFunc(v.attachments, func(one *attachment) bool { return one == a })
		c.finishVolume(v, v.finalStatus())
	}, func() {
		a.detaching = false
		c.finishVolume(v, "in-use")
	})
	return response{status: http.StatusAccepted}, nil
}

// createServer answers POST /servers. The server is ACTIVE at once.
func (c *Cloud) createServer(cl *call) (response, error) {
	if err := cl.parse(); err != nil {
		return response{}, err
	}
	name := stringAt(cl.body, "server", "name")
	if name == "" {
		return response{}, invalid("server", cl.part("server"), "'name' is a required property")
	}
	s := &server{id: c.newID(), name: name, status: "ACTIVE", project: cl.token.project.ID, user: cl.token.user.id, image: stringAt(cl.body, "server", "imageRef"), created: c.nowSeconds()}
	c.servers[s.id] = s
	return response{
		status: http.StatusAccepted, header: map[string]string{"Location": c.server.URL + "/compute/v2.1/servers/" + s.id},
		body: map[string]any{"server": map[string]any{
			"id": s.id, "links": c.serverLinks(s), "OS-DCF:diskConfig": "MANUAL", "security_groups": []any{map[string]any{"name": "default"}},
			"adminPass": c.hexID()[:12],
		}},
	}, nil
}

// deleteServer answers DELETE /servers/{id}: it is deleted and its volumes are detached
// at once.
func (c *Cloud) deleteServer(s *server) response {
	for _, v := range c.volumesOf(s.id) {
		v.attachments = slices.DeleteFunc(v.attachments, func(a *attachment) bool { return a.server == s.id })
		c.finishVolume(v, v.finalStatus())
	}
	delete(c.servers, s.id)
	return response{status: http.StatusNoContent}
}
