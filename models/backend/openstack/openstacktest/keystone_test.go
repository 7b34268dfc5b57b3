package openstacktest_test

import (
	"testing"
	"time"

	"blockconsole/models/backend/openstack/openstacktest"
)

func password(user, secret, project string) map[string]any {
	return map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
			"name": user, "password": secret, "domain": map[string]any{"id": "default"},
		}}},
		"scope": map[string]any{"project": map[string]any{"name": project, "domain": map[string]any{"id": "default"}}},
	}}
}

func applicationCredential(id, secret string) map[string]any {
	return map[string]any{"auth": map[string]any{"identity": map[string]any{
		"methods": []string{"application_credential"}, "application_credential": map[string]any{"id": id, "secret": secret},
	}}}
}

func TestToken_Issue(t *testing.T) {
	cloud := newCloud(t, openstacktest.Options{})
	c := &client{t: t, cloud: cloud}
	id, secret := cloud.AddCredential("demo", cloud.Project, "console")
	revoked, revokedSecret := cloud.AddCredential("demo", cloud.Project, "gone")
	cloud.RevokeCredential(revoked)
	for name, tt := range map[string]struct {
		body   any
		status int
	}{
		"password":               {password("demo", openstacktest.Password, "demo"), 201},
		"wrong password":         {password("demo", "wrong", "demo"), 401},
		"unknown user":           {password("nobody", openstacktest.Password, "demo"), 401},
		"project of others":      {password("demo", openstacktest.Password, "admin"), 401},
		"unknown project":        {password("demo", openstacktest.Password, "nowhere"), 401},
		"application credential": {applicationCredential(id, secret), 201},
		"its wrong secret":       {applicationCredential(id, "wrong"), 401},
		"revoked credential":     {applicationCredential(revoked, revokedSecret), 404},
		"nothing":                {map[string]any{"auth": map[string]any{}}, 400},
		"no JSON":                {"{", 400},
	} {
		r := c.do("POST", cloud.URL()+"/auth/tokens", tt.body)
		if r.status != tt.status || (r.header.Get("X-Subject-Token") != "") != (tt.status == 201) {
			t.Errorf("%s: %d %s", name, r.status, r.text)
		}
	}
}

func TestToken_Expiry(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	cloud := newCloud(t, openstacktest.Options{Now: func() time.Time { return now }, TokenTTL: time.Minute})
	works := func(c *client) bool { return c.volume("GET", "/volumes", nil).status == 200 }
	c := login(t, cloud, "demo", cloud.Project)
	now = now.Add(59 * time.Second)
	if !works(c) {
		t.Error("the token ended early")
	}
	if now = now.Add(time.Second); works(c) {
		t.Error("the token outlived its minute")
	}
	c = login(t, cloud, "demo", cloud.Project)
	if cloud.RevokeTokens(); works(c) {
		t.Error("a revoked token works")
	}
	id, secret := cloud.AddCredential("demo", cloud.Project, "console")
	c.token = c.do("POST", cloud.URL()+"/auth/tokens", applicationCredential(id, secret)).header.Get("X-Subject-Token")
	if !works(c) {
		t.Error("the token of an application credential does not work")
	}
	if cloud.RevokeCredential(id); works(c) {
		t.Error("a token outlives its credential")
	}
	cloud.SetPassword("demo", "new")
	if login(t, cloud, "demo", cloud.Project); cloud.Env("demo", cloud.Project)["OS_PASSWORD"] != "new" {
		t.Error("the environment has the old password")
	}
}

func TestCatalog_Interfaces(t *testing.T) {
	cloud := newCloud(t, openstacktest.Options{})
	c := &client{t: t, cloud: cloud}
	tok := c.do("POST", cloud.URL()+"/auth/tokens", password("demo", openstacktest.Password, "demo")).object(t, 201)
	seen := map[string]bool{}
	for _, s := range tok["catalog"].([]any) {
		service := s.(map[string]any)
		for _, e := range service["endpoints"].([]any) {
			endpoint := e.(map[string]any)
			if endpoint["region"] != openstacktest.Region {
				t.Errorf("%v in region %v", service["type"], endpoint["region"])
			}
			seen[service["type"].(string)+" "+endpoint["interface"].(string)] = true
		}
	}
	for _, want := range []string{"identity public", "volumev3 public", "volumev3 internal", "compute admin", "image public"} {
		if !seen[want] {
			t.Errorf("no endpoint %s", want)
		}
	}
}

func TestAllProjects_AdminOnly(t *testing.T) {
	cloud := newCloud(t, openstacktest.Options{})
	other := cloud.AddProject("other")
	cloud.AddSnapshot(openstacktest.Snapshot{Project: other})
	cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project})
	for user, want := range map[string]struct{ projects, snapshots int }{"admin": {200, 2}, "demo": {403, 1}} {
		c := login(t, cloud, user, cloud.Project)
		if got := c.do("GET", cloud.URL()+"/projects", nil).status; got != want.projects {
			t.Errorf("%s lists projects: %d", user, got)
		}
		if list := c.volume("GET", "/snapshots/detail?all_tenants=1", nil); len(list.body["snapshots"].([]any)) != want.snapshots {
			t.Errorf("%s sees %s", user, list.text)
		}
	}
}
