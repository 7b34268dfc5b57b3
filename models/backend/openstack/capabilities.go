package openstack

import (
	"context"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"blockconsole/models/backend"
)

var _ backend.Backend = (*Backend)(nil)

// settleTime is how long a create whose answer was lost may wait in a proxy or queue.
const settleTime = 90 * time.Second

// pace makes 18 requests per minute with 500 volumes and 10,000 snapshots: six for
// Small, six for Changed, six for Whole.
var pace = backend.Pace{Small: time.Minute, Changed: 10 * time.Second, Whole: 2 * time.Minute}

// Capabilities reads types, zones, projects and quotas.
func (b *Backend) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	s, err := b.session(ctx)
	if err != nil {
		return backend.Capabilities{}, err
	}
	c := backend.Capabilities{
		Name: "openstack", Attach: s.compute != nil, Revert: s.minor >= 40, ExtendAttached: s.minor >= 42, Repair: true,
		Shared: true, Images: s.image != nil, FreeBytes: -1, Project: s.project,
		Poll:   []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second},
		Settle: settleTime, Pace: pace,
	}
	if c.Quotas, c.MaxSizeGiB, err = b.quotas(ctx, s); err != nil {
		return backend.Capabilities{}, err
	}
	known, err := b.choices(ctx, s)
	c.Types, c.Zones, c.Projects = known.types, known.zones, known.projects
	return c, err
}

// choices are what forms offer.
type choices struct {
	types, zones []string
	projects     []backend.Project
}

// choices reads them; one that is unavailable has its last value, since it must not
// keep anybody from working.
func (b *Backend) choices(ctx context.Context, s *session) (choices, error) {
	last := b.lastChoices.Load()
	if last == nil {
		last = &choices{}
	}
	now, err := *last, error(nil)
	if now.types, err = orLast(ctx, b, "types", b.types, s, last.types); err != nil {
		return now, err
	}
	if now.zones, err = orLast(ctx, b, "zones", b.zones, s, last.zones); err != nil {
		return now, err
	}
	if b.allProjects {
		if now.projects, err = orLast(ctx, b, "projects", b.projects, s, last.projects); err != nil {
			return now, err
		}
	}
	b.lastChoices.Store(&now)
	return now, nil
}

// orLast is what get returns, or last when that is unavailable.
func orLast[T any](ctx context.Context, b *Backend, what string, get func(context.Context, *session) ([]T, error), s *session, last []T) ([]T, error) {
	list, err := get(ctx, s)
	if e := backend.AsError(err, backend.CodeUnavailable); ctx.Err() == nil && e != nil && e.Cause == "" {
		b.log.WarnContext(ctx, "cannot read the cloud's "+what, "error", err)
		return last, nil
	}
	return list, err
}

func (b *Backend) types(ctx context.Context, s *session) ([]string, error) {
	var names []string
	err := volumetypes.List(s.volume, volumetypes.ListOpts{}).EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
		list, err := volumetypes.ExtractVolumeTypes(p)
		for _, t := range list {
			names = append(names, t.Name)
		}
		return true, err
	})
	return names, b.ignoreForbidden(ctx, err)
}

func (b *Backend) zones(ctx context.Context, s *session) ([]string, error) {
	page, err := availabilityzones.List(s.volume).AllPages(ctx) // it is one page, which EachPage cannot read
	if err != nil {
		return nil, b.ignoreForbidden(ctx, err)
	}
	list, err := availabilityzones.ExtractAvailabilityZones(page)
	var names []string
	for _, z := range list {
		if z.ZoneState.Available {
			names = append(names, z.ZoneName)
		}
	}
	return names, b.translate(ctx, err)
}

// ignoreForbidden translates err; what a policy hides is taken as empty.
func (b *Backend) ignoreForbidden(ctx context.Context, err error) error {
	if p := asAPIError(err); p != nil && (p.status == http.StatusForbidden || p.status == http.StatusNotFound) {
		return nil
	}
	return b.translate(ctx, err)
}

// projects are all projects of the cloud, or ours where the role may not list all.
func (b *Backend) projects(ctx context.Context, s *session) ([]backend.Project, error) {
	var list []backend.Project
	collect := func(_ context.Context, p pagination.Page) (bool, error) {
		page, err := projects.ExtractProjects(p)
		for _, project := range page {
			list = append(list, backend.Project{ID: project.ID, Name: project.Name})
		}
		return true, err
	}
	err := projects.List(s.identity, projects.ListOpts{}).EachPage(ctx, collect)
	if p := asAPIError(err); p != nil && p.status == http.StatusForbidden {
		list = nil
		err = projects.ListAvailable(s.identity).EachPage(ctx, collect)
	}
	return list, b.translate(ctx, err)
}
