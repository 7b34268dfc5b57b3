package openstack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/utils"
)

// service describes a service in Keystone's catalog. gophercloud's own search requests
// the versions of every endpoint, without the caller's context.
type service struct {
	kind    string   // ServiceClient.Type
	types   []string // in catalogs, the preferred one first
	version string   // first element of the API's paths
	legacy  *regexp.Regexp
}

var (
	blockStorage = service{"block-storage", []string{"block-storage", "volumev3", "block-store", "volume"}, "v3", regexp.MustCompile(`/v[12](/|$)`)}
	compute      = service{"compute", []string{"compute"}, "v2.1", regexp.MustCompile(`/v(1\.1|2)(/|$)`)}
	image        = service{"image", []string{"image"}, "v2", regexp.MustCompile(`/v1(/|$)`)}
)

// discover finds the session's services and negotiates Cinder's microversion.
func (b *Backend) discover(ctx context.Context, s *session, provider *gophercloud.ProviderClient, catalog *tokens.ServiceCatalog) error {
	s.identity = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: provider.IdentityBase + "v3/", Type: "identity"}
	if s.volume = b.serviceClient(provider, catalog, blockStorage); s.volume == nil {
		return fmt.Errorf("the catalog has no block storage in region %q with the interface %q; check OS_REGION_NAME and OS_INTERFACE",
			b.endpoint.Region, b.endpoint.Availability)
	}
	s.compute, s.image = b.serviceClient(provider, catalog, compute), b.serviceClient(provider, catalog, image)
	minor, err := maxMinor(ctx, s.volume, 3)
	if err != nil {
		return err
	}
	s.minor = min(minor, volumeMinor)
	s.volume = withMicroversion(s.volume, "3."+strconv.Itoa(s.minor))
	return nil
}

// novaClient negotiates Nova's microversion when it is first needed: volumes must work
// while Nova is down.
func (s *session) novaClient(ctx context.Context) (*gophercloud.ServiceClient, error) {
	if client := s.computeClient.Load(); client != nil {
		return client, nil
	}
	minor, err := maxMinor(ctx, s.compute, 2)
	if err != nil {
		return nil, err
	}
	client := s.compute
	if minor > 1 { // Nova 2.1 accepts no microversion header
		client = withMicroversion(client, "2."+strconv.Itoa(min(minor, computeMinor)))
	}
	s.computeClient.Store(client)
	return client, nil
}

// maxMinor is N of the newest microversion major.N of a service. gophercloud guesses it
// when it cannot be read.
func maxMinor(ctx context.Context, client *gophercloud.ServiceClient, major int) (int, error) {
	type version struct {
		ID         string `json:"id"`
		Version    string `json:"version"`
		MaxVersion string `json:"max_version"`
	}
	var document struct {
		Version  *version  `json:"version"`
		Versions []version `json:"versions"`
	}
	_, err := client.Get(ctx, versionsURL(client.Endpoint), &document, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusMultipleChoices}})
	if err != nil {
		return 0, err
	}
	if document.Version != nil {
		document.Versions = append(document.Versions, *document.Version)
	}
	minor, found := 0, false
	for _, v := range document.Versions {
		found = found || strings.HasPrefix(v.ID, "v"+strconv.Itoa(major))
		for _, text := range []string{v.Version, v.MaxVersion} {
			if of, n, err := utils.ParseMicroversion(text); err == nil && of == major {
				minor = max(minor, n)
			}
		}
	}
	if !found {
		return 0, fmt.Errorf("%s has no version %d", versionsURL(client.Endpoint), major)
	}
	return minor, nil
}

// withMicroversion copies a client: those of a session are shared and never changed.
func withMicroversion(client *gophercloud.ServiceClient, microversion string) *gophercloud.ServiceClient {
	own := *client
	own.Microversion = microversion
	return &own
}

// serviceClient is nil when the catalog has no such service in the region.
func (b *Backend) serviceClient(provider *gophercloud.ProviderClient, catalog *tokens.ServiceCatalog, sv service) *gophercloud.ServiceClient {
	for _, kind := range sv.types {
		for _, entry := range catalog.Entries {
			if entry.Type != kind {
				continue
			}
			for _, e := range entry.Endpoints {
				if b.matches(e) && !sv.legacy.MatchString(urlPath(e.URL)) {
					return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: sv.baseURL(e.URL), Type: sv.kind}
				}
			}
		}
	}
	return nil
}

func (b *Backend) matches(e tokens.Endpoint) bool {
	region := b.endpoint.Region
	return e.Interface == string(b.endpoint.Availability) && (region == "" || region == e.Region || region == e.RegionID)
}

func urlPath(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

// baseURL is the endpoint with the version, which a catalog may leave out.
func (sv service) baseURL(endpoint string) string {
	endpoint = gophercloud.NormalizeURL(endpoint)
	if elements := strings.Split(urlPath(endpoint), "/"); slices.Contains(elements, sv.version) {
		return endpoint
	}
	return endpoint + sv.version + "/"
}

// versionsURL is the endpoint without the project's id, where the versions are.
func versionsURL(endpoint string) string {
	for _, version := range []string{"v3/", "v2.1/"} {
		if before, _, found := strings.Cut(endpoint, "/"+version); found {
			return before + "/" + version
		}
	}
	return endpoint
}

// Region is the region of the settings; empty: the cloud has only one.
func (b *Backend) Region() string { return b.endpoint.Region }
