package openstacktest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

type user struct {
	id, name, password string
	roles              map[string][]string // by project id
}

type project struct {
	Project
	quotas map[string]int
}

type credential struct {
	id, name, secret, user, project string
	roles                           []string
	expires                         time.Time
}

type token struct {
	id, method      string
	user            *user
	project         *project
	roles           []string
	issued, expires time.Time
	credential      string
}

func (t *token) hasRole(role string) bool { return slices.Contains(t.roles, role) }

func (c *Cloud) addProject(name string) Project {
	p := &project{Project: Project{ID: c.hexID(), Name: name}, quotas: map[string]int{}}
	c.projects = append(c.projects, p)
	return p.Project
}

func (c *Cloud) addUser(name string, roles map[string][]string) {
	c.users[name] = &user{id: c.hexID(), name: name, password: Password, roles: roles}
}

// AddProject adds a project where demo is a member and admin the administrator.
func (c *Cloud) AddProject(name string) Project {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.addProject(name)
	c.users["demo"].roles[p.ID] = []string{"reader", "member"}
	c.users["admin"].roles[p.ID] = []string{"admin", "reader", "member"}
	return p
}

// SetPassword changes a user's password. Tokens stay valid.
func (c *Cloud) SetPassword(user, password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users[user].password = password
}

// SetRoles changes the roles of a user in a project; no roles remove the user from it.
// Existing tokens keep their roles.
func (c *Cloud) SetRoles(user string, project Project, roles ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(roles) == 0 {
		delete(c.users[user].roles, project.ID)
		return
	}
	c.users[user].roles[project.ID] = roles
}

// AddCredential makes an application credential with a user's roles in a project.
func (c *Cloud) AddCredential(user string, project Project, name string) (id, secret string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cr := &credential{id: c.hexID(), name: name, secret: c.hexID(), user: user, project: project.ID, roles: c.users[user].roles[project.ID]}
	c.credentials[cr.id] = cr
	return cr.id, cr.secret
}

// RevokeCredential deletes an application credential and the tokens made with it.
func (c *Cloud) RevokeCredential(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.credentials, id)
	for key, t := range c.tokens {
		if t.credential == id {
			delete(c.tokens, key)
		}
	}
}

// RevokeTokens deletes all tokens.
func (c *Cloud) RevokeTokens() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.tokens)
}

// authenticate finds the caller's token or refuses.
func (c *Cloud) authenticate(cl *call) error {
	t := c.tokens[cl.raw.Header.Get("X-Auth-Token")]
	if t == nil || !c.now().Before(t.expires) {
		return unauthenticated(c.server.URL + "/identity")
	}
	cl.token = t
	return nil
}

// keystoneError is an error in Keystone's format.
func keystoneError(status int, message string) *errorResponse {
	return &errorResponse{response{status: status, body: map[string]any{"error": map[string]any{
		"code": status, "message": message, "title": http.StatusText(status),
	}}}}
}

func (c *Cloud) keystoneUnauthorized() error {
	f := keystoneError(http.StatusUnauthorized, "The request you have made requires authentication.")
	f.header = map[string]string{"WWW-Authenticate": `Keystone uri="` + c.server.URL + `/identity/v3"`}
	return f
}

func (c *Cloud) keystone(cl *call) (response, error) {
	header := map[string]string{"Vary": "X-Auth-Token"}
	route := cl.method + " " + strings.Join(cl.path, "/")
	switch {
	case route == "GET " || route == "GET":
		return response{status: http.StatusMultipleChoices, body: map[string]any{"versions": map[string]any{"values": []any{c.keystoneVersion()}}}}, nil
	case route == "GET v3":
		return okResponse(map[string]any{"version": c.keystoneVersion()}), nil
	case route == "POST v3/auth/tokens":
		a, err := c.issueToken(cl)
		return withHeaders(header, a, err)
	}
	if c.authenticate(cl) != nil {
		return response{}, c.keystoneUnauthorized()
	}
	a, err := c.keystoneWithToken(cl, route)
	return withHeaders(header, a, err)
}

func (c *Cloud) keystoneWithToken(cl *call, route string) (response, error) {
	subject := cl.raw.Header.Get("X-Subject-Token")
	switch {
	case route == "GET v3/auth/tokens" || route == "DELETE v3/auth/tokens":
		t := c.tokens[subject]
		if t == nil || !c.now().Before(t.expires) {
			return response{}, keystoneError(http.StatusNotFound, "Could not recognize Fernet token")
		}
		if cl.method == http.MethodDelete {
			delete(c.tokens, subject)
			return response{status: http.StatusNoContent}, nil
		}
		return response{status: http.StatusOK, body: c.tokenView(t), header: map[string]string{"X-Subject-Token": t.id}}, nil
	case route == "GET v3/auth/projects":
		return okResponse(c.projectList(route, func(p *project) bool { return cl.token.user.roles[p.ID] != nil })), nil
	case route == "GET v3/projects":
		if !cl.token.hasRole("admin") {
			return response{}, keystoneError(http.StatusForbidden, "You are not authorized to perform the requested action: identity:list_projects.")
		}
		return okResponse(c.projectList(route, func(*project) bool { return true })), nil
	case strings.HasPrefix(route, "GET v3/projects/") && len(cl.path) == 3:
		p := c.projectByID(cl.path[2])
		if p == nil || !cl.token.hasRole("admin") && p.ID != cl.token.project.ID {
			return response{}, keystoneError(http.StatusForbidden, "You are not authorized to perform the requested action: identity:get_project.")
		}
		return okResponse(map[string]any{"project": c.projectView(p)}), nil
	}
	return response{}, keystoneError(http.StatusNotFound, "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.")
}

func (c *Cloud) projectByID(id string) *project {
	i := slices.IndexFunc(c.projects, func(p *project) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return c.projects[i]
}

func (c *Cloud) projectView(p *project) map[string]any {
	return map[string]any{
		"id": p.ID, "name": p.Name, "domain_id": "default", "description": "", "enabled": true, "parent_id": "default", "is_domain": false,
		"tags": []any{}, "options": map[string]any{}, "links": map[string]any{"self": c.URL() + "/projects/" + p.ID},
	}
}

func (c *Cloud) projectList(route string, show func(*project) bool) map[string]any {
	list := []any{}
	for _, p := range c.projects {
		if show(p) {
			list = append(list, c.projectView(p))
		}
	}
	self := c.server.URL + "/identity/" + strings.TrimPrefix(route, "GET ")
	return map[string]any{"projects": list, "links": map[string]any{"next": nil, "previous": nil, "self": self}}
}

func (c *Cloud) keystoneVersion() map[string]any {
	return map[string]any{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []any{map[string]any{"rel": "self", "href": c.URL() + "/"}},
		"media-types": []any{map[string]any{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}
