package openstack

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
)

// settings identify the cloud and our account.
type settings struct {
	auth     gophercloud.AuthOptions
	endpoint gophercloud.EndpointOpts
	tls      *tls.Config
}

// envCloud is the name of the cloud made from the OS_* variables.
const envCloud = "envvars"

// readSettings reads clouds.yaml and the OS_* variables as other OpenStack clients do:
// OS_CLOUD names a cloud of the file, else the variables describe one. Errors name the
// wrong variable or file.
func readSettings(getenv func(string) string) (settings, error) {
	var s settings
	var err error
	cloud := getenv("OS_CLOUD")
	missing := func(key, variable string) error {
		if cloud != "" {
			return fmt.Errorf("the cloud %q of %s has no %s", cloud, fileName(getenv), key)
		}
		return fmt.Errorf("%s is not set", variable)
	}
	switch {
	case cloud != "":
		s, err = parse(fromFile(getenv, cloud)...)
		if err != nil {
			return s, fmt.Errorf("cannot use the cloud %q that OS_CLOUD names: %w; check %s", cloud, err, fileName(getenv))
		}
	case getenv("OS_AUTH_URL") != "":
		options, err := fromVariables(getenv)
		if err != nil {
			return s, err
		}
		if s, err = parse(options...); err != nil {
			return s, fmt.Errorf("cannot use the OS_* variables: %w", err)
		}
	default:
		return s, errors.New("no cloud is named: set OS_CLOUD to one of clouds.yaml, or OS_AUTH_URL and the other OS_* variables")
	}
	if err := checkAuth(&s.auth, missing); err != nil {
		return s, err
	}
	return s, checkInterface(getenv)
}

func fileName(getenv func(string) string) string {
	if file := getenv("OS_CLIENT_CONFIG_FILE"); file != "" {
		return file + " (OS_CLIENT_CONFIG_FILE)"
	}
	return "clouds.yaml"
}

// parse is clouds.Parse without its panic when a cloud has no auth section.
func parse(options ...clouds.ParseOption) (s settings, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it has no auth section")
		}
	}()
	s.auth, s.endpoint, s.tls, err = clouds.Parse(options...)
	return s, err
}

func fromFile(getenv func(string) string, cloud string) []clouds.ParseOption {
	options := []clouds.ParseOption{
		clouds.WithCloudName(cloud), clouds.WithRegion(getenv("OS_REGION_NAME")), clouds.WithEndpointType(interfaceName(getenv)),
		clouds.WithPassword(getenv("OS_PASSWORD")), clouds.WithApplicationCredentialSecret(getenv("OS_APPLICATION_CREDENTIAL_SECRET")),
		clouds.WithCACertPath(getenv("OS_CACERT")), clouds.WithClientCertPath(getenv("OS_CERT")), clouds.WithClientKeyPath(getenv("OS_KEY")),
	}
	if file := getenv("OS_CLIENT_CONFIG_FILE"); file != "" {
		options = append(options, clouds.WithLocations(file))
	}
	if insecure(getenv) {
		options = append(options, clouds.WithInsecure(true))
	}
	return options
}

// fromVariables makes a clouds.yaml of the variables, so that both are read in one way.
func fromVariables(getenv func(string) string) ([]clouds.ParseOption, error) {
	first := func(names ...string) string {
		for _, name := range names {
			if value := getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	cloud := clouds.Cloud{
		RegionName: getenv("OS_REGION_NAME"),
		AuthInfo: &clouds.AuthInfo{
			AuthURL: getenv("OS_AUTH_URL"), Token: getenv("OS_TOKEN"), SystemScope: getenv("OS_SYSTEM_SCOPE"), TrustID: getenv("OS_TRUST_ID"),
			Username: getenv("OS_USERNAME"), UserID: first("OS_USER_ID", "OS_USERID"), Password: getenv("OS_PASSWORD"),
			ProjectID: first("OS_PROJECT_ID", "OS_TENANT_ID"), ProjectName: first("OS_PROJECT_NAME", "OS_TENANT_NAME"),
			UserDomainID: getenv("OS_USER_DOMAIN_ID"), UserDomainName: getenv("OS_USER_DOMAIN_NAME"),
			ProjectDomainID: getenv("OS_PROJECT_DOMAIN_ID"), ProjectDomainName: getenv("OS_PROJECT_DOMAIN_NAME"),
			DomainID: first("OS_DOMAIN_ID", "OS_DEFAULT_DOMAIN_ID", "OS_DEFAULT_DOMAIN"), DomainName: first("OS_DOMAIN_NAME", "OS_DEFAULT_DOMAIN_NAME"),
			ApplicationCredentialID:     getenv("OS_APPLICATION_CREDENTIAL_ID"),
			ApplicationCredentialName:   getenv("OS_APPLICATION_CREDENTIAL_NAME"),
			ApplicationCredentialSecret: getenv("OS_APPLICATION_CREDENTIAL_SECRET"),
		},
	}
	file, err := json.Marshal(clouds.Clouds{Clouds: map[string]clouds.Cloud{envCloud: cloud}})
	if err != nil {
		return nil, fmt.Errorf("cannot use the OS_* variables: %w", err)
	}
	return append(fromFile(getenv, envCloud), clouds.WithCloudsYAML(strings.NewReader(string(file)))), nil
}

func interfaceName(getenv func(string) string) string {
	if name := getenv("OS_INTERFACE"); name != "" {
		return name
	}
	return getenv("OS_ENDPOINT_TYPE")
}

func checkInterface(getenv func(string) string) error {
	name := interfaceName(getenv)
	if !slices.Contains([]string{"", "public", "internal", "admin"}, strings.TrimSuffix(name, "URL")) {
		return fmt.Errorf("OS_INTERFACE is %q; there are public, internal and admin", name)
	}
	return nil
}

func insecure(getenv func(string) string) bool {
	return slices.Contains([]string{"1", "true", "yes", "on"}, strings.ToLower(getenv("OS_INSECURE")))
}

// checkAuth sets the usual defaults and checks what can be checked without the cloud.
// missing is the error for a key or variable that is not set.
func checkAuth(a *gophercloud.AuthOptions, missing func(key, variable string) error) error {
	a.AllowReauth = true
	if a.IdentityEndpoint == "" {
		return missing("auth.auth_url", "OS_AUTH_URL")
	}
	if u, err := url.Parse(a.IdentityEndpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("OS_AUTH_URL (auth.auth_url of clouds.yaml) is %q, which is no http address", a.IdentityEndpoint)
	}
	if a.ApplicationCredentialID != "" || a.ApplicationCredentialName != "" {
		return checkCredential(a, missing)
	}
	switch {
	case a.Scope != nil && a.Scope.System:
		return errors.New("OS_SYSTEM_SCOPE (auth.system_scope of clouds.yaml) is set, but volumes belong to projects: name a project instead")
	case a.Username == "" && a.UserID == "" && a.TokenID != "":
		return errors.New("OS_TOKEN (auth.token of clouds.yaml) cannot be renewed when it expires: set OS_USERNAME and OS_PASSWORD, or an application credential")
	case a.Username == "" && a.UserID == "":
		return missing("auth.username", "OS_USERNAME")
	case a.Password == "":
		return missing("auth.password", "OS_PASSWORD")
	case a.Scope == nil || a.Scope.ProjectID == "" && a.Scope.ProjectName == "" && a.Scope.TrustID == "":
		return missing("auth.project_name", "OS_PROJECT_NAME")
	}
	a.TokenID, a.TenantID, a.TenantName = "", "", ""
	checkUserDomain(a)
	if a.Scope.ProjectName != "" && a.Scope.DomainID == "" && a.Scope.DomainName == "" {
		a.Scope.DomainID = defaultDomain
	}
	if a.Scope.DomainID != "" {
		a.Scope.DomainName = ""
	}
	return nil
}

// defaultDomain is the id of Keystone's first domain, the default.
const defaultDomain = "default"

func checkUserDomain(a *gophercloud.AuthOptions) {
	switch {
	case a.UserID != "": // Keystone accepts no domain with it
		a.Username, a.DomainID, a.DomainName = "", "", ""
	case a.DomainID != "":
		a.DomainName = ""
	case a.DomainName == "":
		a.DomainID = defaultDomain
	}
}

// checkCredential keeps only the options of an application credential: it has its own
// user and project, and Keystone refuses others.
func checkCredential(a *gophercloud.AuthOptions, missing func(key, variable string) error) error {
	if a.ApplicationCredentialSecret == "" {
		return missing("auth.application_credential_secret", "OS_APPLICATION_CREDENTIAL_SECRET")
	}
	a.Scope, a.TokenID, a.TenantID, a.TenantName, a.Password = nil, "", "", "", ""
	if a.ApplicationCredentialID != "" {
		a.ApplicationCredentialName, a.Username, a.UserID, a.DomainID, a.DomainName = "", "", "", "", ""
		return nil
	}
	if a.Username == "" && a.UserID == "" {
		return missing("auth.username, which the name of an application credential needs", "OS_USERNAME")
	}
	checkUserDomain(a)
	return nil
}
