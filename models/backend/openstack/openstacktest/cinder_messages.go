package openstacktest

import (
	"net/http"
	"slices"
	"time"
)

// messageTTL is Cinder's message_ttl.
const messageTTL = 30 * 24 * time.Hour

// AddMessage adds a user message about a volume or snapshot, with an event such as
// VOLUME_VOLUME_001_003, and returns its request id.
func (c *Cloud) AddMessage(key, event, text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.idOf(key)
	request := c.requestID()
	if v := c.volumes[id]; v != nil {
		c.addMessage(v.project, "VOLUME", id, event, text, request)
	} else if s := c.snapshots[id]; s != nil {
		c.addMessage(s.project, "VOLUME_SNAPSHOT", id, event, text, request)
	}
	return request
}

func (c *Cloud) addMessage(project, kind, resource, event, text, request string) {
	c.messages = append(c.messages, &message{
		id: c.newID(), project: project, kind: kind, resource: resource, event: event, text: text, request: request, created: c.nowSeconds(),
	})
}

func (c *Cloud) messageView(cl *call, m *message) map[string]any {
	return map[string]any{
		"id": m.id, "event_id": m.event, "user_message": m.text, "message_level": "ERROR", "created_at": cinderTime(m.created),
		"guaranteed_until": cinderTime(m.created.Add(messageTTL)), "request_id": m.request, "resource_type": m.kind, "resource_uuid": m.resource,
		"links": c.links(cl, "messages", m.id),
	}
}

// listMessages answers GET /messages, the newest first; since 3.3, and with
// filters, sorting and pages since 3.5.
func (c *Cloud) listMessages(cl *call, _ []string) (response, error) {
	if cl.minor < 3 {
		return response{}, faultf(http.StatusNotFound, "The resource could not be found.")
	}
	filters := cl.query
	marker := filters.Get("marker")
	l, err := cl.parsePaging(filters, "messages", "Message")
	if err != nil {
		return response{}, err
	}
	if err := cl.checkFilters(filters, "message"); err != nil {
		return response{}, err
	}
	rows := []*row{}
	for _, m := range c.messages {
		if m.project == cl.token.project.ID && (cl.minor < 5 || m.matches(filters.Get)) {
			rows = append(rows, c.messageRow(cl, m))
		}
	}
	if i := slices.IndexFunc(rows, func(r *row) bool { return r.id == marker }); i >= 0 {
		l.marker = rows[i]
	} else if marker != "" {
		return response{}, faultf(http.StatusNotFound, "Message %s could not be found.", marker)
	}
	return c.pageResponse(cl, l, rows, true, false)
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

func (m *message) matches(filter func(string) string) bool {
	for name, value := range map[string]string{
		"resource_uuid": m.resource, "resource_type": m.kind, "event_id": m.event, "request_id": m.request, "message_level": "ERROR",
	} {
		if want := filter(name); want != "" && want != value {
			return false
		}
	}
	return true
}

func (c *Cloud) showMessage(cl *call, path []string) (response, error) {
	for _, m := range c.messages {
		if m.id == path[1] && cl.canSee(m.project) && cl.minor >= 3 {
			return okResponse(map[string]any{"message": c.messageView(cl, m)}), nil
		}
	}
	return response{}, faultf(http.StatusNotFound, "Message %s could not be found.", path[1])
}
