package openstack

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// service is how one is found in Keystone's catalog. gophercloud's own search asks
// every endpoint for its versions without the caller's context.
type service struct {
	kind    string   // as gophercloud calls it
	types   []string // as the catalogs call it, the best first
	version string   // the first element of the API's paths
	other   *regexp.Regexp
}

var (
	blockStorage = service{"block-storage", []string{"block-storage", "volumev3", "block-store", "volume"}, "v3", regexp.MustCompile(`/v[12](/|$)`)}
	compute      = service{"compute", []string{"compute"}, "v2.1", regexp.MustCompile(`/v(1\.1|2)(/|$)`)}
	image        = service{"image", []string{"image"}, "v2", regexp.MustCompile(`/v1(/|$)`)}
)

// discover finds the services that the session works with and agrees with Cinder on
// a microversion.
func (b *Backend) discover(ctx context.Context, s *session, provider *gophercloud.ProviderClient, catalog *tokens.ServiceCatalog) error {
	s.identity = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: provider.IdentityBase + "v3/", Type: "identity"}
	if s.volume = b.client(provider, catalog, blockStorage); s.volume == nil {
		return fmt.Errorf("the catalog has no block storage in region %q with the interface %q; check OS_REGION_NAME and OS_INTERFACE",
			b.endpoint.Region, b.endpoint.Availability)
	}
	s.compute, s.image = b.client(provider, catalog, compute), b.client(provider, catalog, image)
	minor, err := newestMinor(ctx, s.volume, 3)
	if err != nil {
		return err
	}
	s.minor = min(minor, volumeMinor)
	s.volume = at(s.volume, "3."+strconv.Itoa(s.minor))
	return nil
}

// nova agrees with the compute service on a microversion when it is first needed:
// while it is down the volumes are worked on.
func (s *session) nova(ctx context.Context) (*gophercloud.ServiceClient, error) {
	if client := s.agreed.Load(); client != nil {
		return client, nil
	}
	minor, err := newestMinor(ctx, s.compute, 2)
	if err != nil {
		return nil, err
	}
	client := s.compute
	if minor > 1 { // without microversions Nova takes no header
		client = at(client, "2."+strconv.Itoa(min(minor, computeMinor)))
	}
	s.agreed.Store(client)
	return client, nil
}

// at is a copy of a client that speaks a microversion. The clients of a session are
// shared, so none is ever changed.
func at(client *gophercloud.ServiceClient, microversion string) *gophercloud.ServiceClient {
	own := *client
	own.Microversion = microversion
	return &own
}

// client is nil when the catalog has no such service in our region.
func (b *Backend) client(provider *gophercloud.ProviderClient, catalog *tokens.ServiceCatalog, sv service) *gophercloud.ServiceClient {
	for _, kind := range sv.types {
		for _, entry := range catalog.Entries {
			if entry.Type != kind {
				continue
			}
			for _, e := range entry.Endpoints {
				if b.wanted(e) && !sv.other.MatchString(pathOf(e.URL)) {
					return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: sv.address(e.URL), Type: sv.kind}
				}
			}
		}
	}
	return nil
}

func (b *Backend) wanted(e tokens.Endpoint) bool {
	region := b.endpoint.Region
	return e.Interface == string(b.endpoint.Availability) && (region == "" || region == e.Region || region == e.RegionID)
}

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

// address is where the API's paths begin: a catalog may leave the version out.
func (sv service) address(endpoint string) string {
	endpoint = gophercloud.NormalizeURL(endpoint)
	if elements := strings.Split(pathOf(endpoint), "/"); slices.Contains(elements, sv.version) {
		return endpoint
	}
	return endpoint + sv.version + "/"
}

// root is where a service tells its versions: without the project's id.
func root(endpoint string) string {
	for _, version := range []string{"v3/", "v2.1/"} {
		if before, _, found := strings.Cut(endpoint, "/"+version); found {
			return before + "/" + version
		}
	}
	return endpoint
}

// Region is the region that the settings name; empty: the cloud has one.
func (b *Backend) Region() string { return b.endpoint.Region }
