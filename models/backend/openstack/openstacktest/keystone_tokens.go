package openstacktest

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
)

// issueToken answers POST /v3/auth/tokens.
func (c *Cloud) issueToken(cl *call) (response, error) {
	if cl.parse() != nil {
		return response{}, keystoneError(http.StatusBadRequest, "Expecting to find valid JSON in body.")
	}
	auth := cl.part("auth")
	identity, _ := auth["identity"].(map[string]any)
	if identity == nil {
		return response{}, keystoneError(http.StatusBadRequest, "'identity' is a required property")
	}
	methods, _ := identity["methods"].([]any)
	if len(methods) != 1 {
		return response{}, c.keystoneUnauthorized()
	}
	var t *token
	switch methods[0] {
	case "password":
		t = c.byPassword(identity, auth)
	case "application_credential":
		id := stringAt(identity, "application_credential", "id")
		if id != "" && c.credentials[id] == nil {
			return response{}, keystoneError(http.StatusNotFound, "Could not find Application Credential: "+id+".")
		}
		t = c.byCredential(identity)
	case "token":
		t = c.byToken(identity, auth)
	}
	if t == nil {
		return response{}, c.keystoneUnauthorized()
	}
	t.id, t.method, t.issued = "gAAAAA"+c.hexID()+c.hexID(), methods[0].(string), c.nowSeconds()
	t.expires = t.issued.Add(c.opts.TokenTTL)
	c.tokens[t.id] = t
	return response{status: http.StatusCreated, body: c.tokenView(t), header: map[string]string{"X-Subject-Token": t.id}}, nil
}

func (c *Cloud) byPassword(identity, auth map[string]any) *token {
	u := c.findUser(identity, "password")
	if u == nil || u.password != stringAt(identity, "password", "user", "password") {
		return nil
	}
	return c.scopedToken(u, auth)
}

func (c *Cloud) byToken(identity, auth map[string]any) *token {
	old := c.tokens[stringAt(identity, "token", "id")]
	if old == nil || !c.now().Before(old.expires) || old.credential != "" {
		return nil
	}
	return c.scopedToken(old.user, auth)
}

// findUser finds by id, or by name in the domain Default.
func (c *Cloud) findUser(identity map[string]any, method string) *user {
	if id := stringAt(identity, method, "user", "id"); id != "" {
		for _, u := range c.users {
			if u.id == id {
				return u
			}
		}
		return nil
	}
	if !defaultDomain(stringAt(identity, method, "user", "domain", "id"), stringAt(identity, method, "user", "domain", "name")) {
		return nil
	}
	return c.users[stringAt(identity, method, "user", "name")]
}

func defaultDomain(id, name string) bool { return id == "default" || name == "Default" }

// scopedToken is a token of u for the project of the request's scope.
func (c *Cloud) scopedToken(u *user, auth map[string]any) *token {
	i := slices.IndexFunc(c.projects, func(p *project) bool {
		if id := stringAt(auth, "scope", "project", "id"); id != "" {
			return p.ID == id
		}
		return p.Name == stringAt(auth, "scope", "project", "name") &&
			defaultDomain(stringAt(auth, "scope", "project", "domain", "id"), stringAt(auth, "scope", "project", "domain", "name"))
	})
	if i < 0 || u.roles[c.projects[i].ID] == nil {
		return nil
	}
	return &token{user: u, project: c.projects[i], roles: u.roles[c.projects[i].ID]}
}

func (c *Cloud) byCredential(identity map[string]any) *token {
	cr := c.credentials[stringAt(identity, "application_credential", "id")]
	if cr == nil {
		u := c.findUser(identity, "application_credential")
		for _, one := range c.credentials {
			if u != nil && one.user == u.name && one.name == stringAt(identity, "application_credential", "name") {
				cr = one
			}
		}
	}
	if cr == nil || cr.secret != stringAt(identity, "application_credential", "secret") || !cr.expires.IsZero() && !c.now().Before(cr.expires) {
		return nil
	}
	return &token{user: c.users[cr.user], project: c.projectByID(cr.project), roles: cr.roles, credential: cr.id}
}

func (c *Cloud) tokenView(t *token) map[string]any {
	domain := map[string]any{"id": "default", "name": "Default"}
	roles := []any{}
	for _, r := range t.roles {
		roles = append(roles, map[string]any{"id": "role-" + r, "name": r})
	}
	view := map[string]any{
		"methods":    []any{t.method},
		"user":       map[string]any{"domain": domain, "id": t.user.id, "name": t.user.name, "password_expires_at": nil},
		"audit_ids":  []any{t.id[6:28]},
		"expires_at": keystoneTime(t.expires), "issued_at": keystoneTime(t.issued),
		"project":   map[string]any{"domain": domain, "id": t.project.ID, "name": t.project.Name},
		"is_domain": false, "roles": roles, "catalog": c.catalog(t.project.ID),
	}
	if t.credential != "" {
		view["application_credential"] = map[string]any{"id": t.credential, "name": c.credentials[t.credential].name, "restricted": true}
	}
	return map[string]any{"token": view}
}

// catalog is the service catalog. The internal and admin interfaces have another host
// name of the same server, so that tests see which interface was used.
func (c *Cloud) catalog(project string) []any {
	list := []any{}
	for _, s := range []struct{ kind, name, path string }{
		{"identity", "keystone", "/identity/v3"}, {"compute", "nova", "/compute/v2.1"}, {"image", "glance", "/image"},
		{"volumev3", "cinderv3", "/volume/v3/" + project},
	} {
		endpoints := []any{}
		for _, face := range []string{"public", "internal", "admin"} {
			url := c.server.URL + s.path
			if face != "public" {
				url = internalHost(c.server.URL) + s.path
			}
			endpoints = append(endpoints, map[string]any{
				"id": c.endpointID(s.kind + face), "interface": face, "region_id": Region, "region": Region, "url": url,
			})
		}
		list = append(list, map[string]any{"endpoints": endpoints, "id": c.endpointID(s.kind), "type": s.kind, "name": s.name})
	}
	return list
}

// internalHost replaces the loopback address by its name.
func internalHost(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }

// endpointID is the same in every run.
func (c *Cloud) endpointID(of string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(of)) // never fails
	return fmt.Sprintf("%016x%016x", h.Sum64(), splitmix(h.Sum64()))
}
