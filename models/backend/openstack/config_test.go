package openstack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
)

const cloudsFile = `clouds:
  password:
    region_name: RegionOne
    interface: internal
    auth: {auth_url: "https://keystone/v3", username: demo, password: secret, project_name: demo, user_domain_name: Users, project_domain_name: Projects}
  credential:
    auth_type: v3applicationcredential
    auth: {auth_url: "https://keystone/v3", application_credential_id: an-id, application_credential_secret: secret, project_name: ignored, username: ignored}
  bare: {region_name: RegionOne}
  nowhere:
    auth: {username: demo, password: secret, project_name: demo}
  no-password:
    auth: {auth_url: "https://keystone/v3", username: demo, project_name: demo}
  no-project:
    auth: {auth_url: "https://keystone/v3", username: demo, password: secret}
  no-ca:
    cacert: /does/not/exist.pem
    auth: {auth_url: "https://keystone/v3", username: demo, password: secret, project_name: demo}
`

func cloudsYAML(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(file, []byte(cloudsFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReadSettings(t *testing.T) {
	file := cloudsYAML(t)
	variables := map[string]string{
		"OS_AUTH_URL": "http://keystone:5000", "OS_USERNAME": "demo", "OS_PASSWORD": "p: 'q\" #\\", "OS_PROJECT_ID": "0123", "OS_PROJECT_NAME": "demo",
		"OS_PROJECT_DOMAIN_ID": "default", "OS_USER_DOMAIN_NAME": "Default", "OS_REGION_NAME": "North", "OS_INTERFACE": "admin", "OS_INSECURE": "true",
	}
	for name, tt := range map[string]struct {
		env  map[string]string
		want func(settings) bool
	}{
		"a cloud of the file": {map[string]string{"OS_CLOUD": "password"}, func(s settings) bool {
			a := s.auth
			return a.Username == "demo" && a.Password == "secret" && a.DomainName == "Users" && a.Scope.ProjectName == "demo" && a.Scope.DomainName == "Projects" &&
				a.AllowReauth && s.endpoint.Region == "RegionOne" && s.endpoint.Availability == gophercloud.AvailabilityInternal
		}},
		"the variables over the file": {map[string]string{"OS_CLOUD": "no-password", "OS_PASSWORD": "given", "OS_REGION_NAME": "Two", "OS_INTERFACE": "public"}, func(s settings) bool {
			return s.auth.Password == "given" && s.auth.DomainID == defaultDomain && s.auth.Scope.DomainID == defaultDomain && s.endpoint.Region == "Two" &&
				s.endpoint.Availability == gophercloud.AvailabilityPublic
		}},
		"an application credential": {map[string]string{"OS_CLOUD": "credential"}, func(s settings) bool {
			a := s.auth
			return a.ApplicationCredentialID == "an-id" && a.ApplicationCredentialSecret == "secret" && a.Scope == nil && a.Username == "" && a.TenantName == ""
		}},
		"variables": {variables, func(s settings) bool {
			return s.auth.Password == variables["OS_PASSWORD"] && s.auth.Scope.ProjectID == "0123" && s.auth.DomainName == "Default" &&
				s.endpoint.Region == "North" && s.endpoint.Availability == gophercloud.AvailabilityAdmin && s.tls.InsecureSkipVerify
		}},
		"a credential by name": {map[string]string{
			"OS_AUTH_URL": "http://keystone/v3", "OS_APPLICATION_CREDENTIAL_NAME": "console", "OS_APPLICATION_CREDENTIAL_SECRET": "secret", "OS_USER_ID": "u",
		}, func(s settings) bool {
			return s.auth.ApplicationCredentialName == "console" && s.auth.UserID == "u" && s.auth.DomainID == ""
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.env["OS_CLOUD"] != "" {
				tt.env["OS_CLIENT_CONFIG_FILE"] = file
			}
			s, err := readSettings(env(tt.env))
			if err != nil || !tt.want(s) {
				t.Fatalf("%+v, %v", s.endpoint, err)
			}
			if _, err := s.auth.ToTokenV3CreateMap(nil); err != nil {
				t.Error("Keystone would refuse it:", err)
			}
		})
	}
}

func TestOpen_WrongSettings(t *testing.T) {
	file := cloudsYAML(t)
	with := func(more map[string]string) map[string]string {
		all := map[string]string{"OS_AUTH_URL": "http://keystone/v3", "OS_USERNAME": "demo", "OS_PASSWORD": "secret", "OS_PROJECT_NAME": "demo"}
		for name, value := range more {
			all[name] = value
		}
		return all
	}
	for _, tt := range []struct {
		env  map[string]string
		says []string
	}{
		{nil, []string{"OS_CLOUD", "OS_AUTH_URL"}},
		{map[string]string{"OS_CLOUD": "missing", "OS_CLIENT_CONFIG_FILE": file}, []string{"missing", file, "OS_CLOUD"}},
		{map[string]string{"OS_CLOUD": "bare", "OS_CLIENT_CONFIG_FILE": file}, []string{"no auth section", file}},
		{map[string]string{"OS_CLOUD": "nowhere", "OS_CLIENT_CONFIG_FILE": file}, []string{"auth.auth_url", file}},
		{map[string]string{"OS_CLOUD": "no-password", "OS_CLIENT_CONFIG_FILE": file}, []string{"auth.password"}},
		{map[string]string{"OS_CLOUD": "no-project", "OS_CLIENT_CONFIG_FILE": file}, []string{"auth.project_name"}},
		{map[string]string{"OS_CLOUD": "no-ca", "OS_CLIENT_CONFIG_FILE": file}, []string{"CA", "/does/not/exist.pem"}},
		{map[string]string{"OS_CLOUD": "any", "OS_CLIENT_CONFIG_FILE": "/does/not/exist.yaml"}, []string{"/does/not/exist.yaml", "OS_CLIENT_CONFIG_FILE"}},
		{with(map[string]string{"OS_AUTH_URL": "keystone:5000"}), []string{"OS_AUTH_URL", "keystone:5000"}},
		{with(map[string]string{"OS_USERNAME": ""}), []string{"OS_USERNAME"}},
		{with(map[string]string{"OS_PASSWORD": ""}), []string{"OS_PASSWORD"}},
		{with(map[string]string{"OS_PROJECT_NAME": ""}), []string{"OS_PROJECT_NAME"}},
		{with(map[string]string{"OS_INTERFACE": "outside"}), []string{"OS_INTERFACE", "outside"}},
		{with(map[string]string{"OS_USERNAME": "", "OS_TOKEN": "t"}), []string{"OS_TOKEN"}},
		{with(map[string]string{"OS_SYSTEM_SCOPE": "all"}), []string{"OS_SYSTEM_SCOPE"}},
		{with(map[string]string{"OS_APPLICATION_CREDENTIAL_ID": "x"}), []string{"OS_APPLICATION_CREDENTIAL_SECRET"}},
	} {
		_, err := Open(t.Context(), Options{Getenv: env(tt.env)})
		if err == nil {
			t.Errorf("%v is accepted", tt.env)
			continue
		}
		for _, want := range tt.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %q does not name %s", tt.env, err, want)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q contains a secret", err)
		}
	}
}
