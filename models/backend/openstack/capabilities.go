package openstack

import (
	"context"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"blockconsole/models/backend"
)

var _ backend.Backend = (*Backend)(nil)

// settle is how long a create whose answer was lost may take to become visible: a
// request may wait in a proxy or a queue that long.
const settle = 90 * time.Second

// pace costs a cloud with 10,000 snapshots and 500 volumes about a third of a request
// each second: six requests a minute for what is small, six for what changed, twelve
// every two minutes for everything.
var pace = backend.Pace{Small: time.Minute, Changed: 10 * time.Second, Whole: 2 * time.Minute}

// Capabilities asks for types, zones and quotas.
func (b *Backend) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	s, err := b.session(ctx)
	if err != nil {
		return backend.Capabilities{}, err
	}
	c := backend.Capabilities{
		Name: "openstack", Attach: s.compute != nil, Revert: s.minor >= 40, ExtendAttached: s.minor >= 42, Repair: true,
		Shared: true, CrashSafe: true, Images: s.image != nil, FreeBytes: -1, Project: s.project,
		Poll:   []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second},
		Settle: settle, Pace: pace,
	}
	if c.Quotas, c.MaxSizeGiB, err = b.quotas(ctx, s); err != nil {
		return backend.Capabilities{}, err
	}
	known, err := b.choices(ctx, s)
	c.Types, c.Zones, c.Projects = known.types, known.zones, known.projects
	return c, err
}

// choices are what users choose from. Nobody is kept from working by them.
type choices struct {
	types, zones []string
	projects     []backend.Project
}

// choices asks for all of them; what cannot be told now is as it was told last.
func (b *Backend) choices(ctx context.Context, s *session) (choices, error) {
	last := b.chosen.Load()
	if last == nil {
		last = &choices{}
	}
	now, err := *last, error(nil)
	if now.types, err = told(ctx, b, "types", b.types, s, last.types); err != nil {
		return now, err
	}
	if now.zones, err = told(ctx, b, "zones", b.zones, s, last.zones); err != nil {
		return now, err
	}
	if b.allProjects {
		if now.projects, err = told(ctx, b, "projects", b.projects, s, last.projects); err != nil {
			return now, err
		}
	}
	b.chosen.Store(&now)
	return now, nil
}

// told is what ask gives, or last where only that does not answer.
func told[T any](ctx context.Context, b *Backend, what string, ask func(context.Context, *session) ([]T, error), s *session, last []T) ([]T, error) {
	list, err := ask(ctx, s)
	if e := backend.AsError(err, backend.CodeUnavailable); ctx.Err() == nil && e != nil && e.Cause == "" {
		b.log.WarnContext(ctx, "the cloud does not tell its "+what, "error", err)
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
	return names, b.allowed(ctx, err)
}

func (b *Backend) zones(ctx context.Context, s *session) ([]string, error) {
	page, err := availabilityzones.List(s.volume).AllPages(ctx) // there is only one, and EachPage does not understand it
	if err != nil {
		return nil, b.allowed(ctx, err)
	}
	list, err := availabilityzones.ExtractAvailabilityZones(page)
	var names []string
	for _, z := range list {
		if z.ZoneState.Available {
			names = append(names, z.ZoneName)
		}
	}
	return names, b.explain(ctx, err)
}

// allowed explains err, but takes what a policy hides as not being there.
func (b *Backend) allowed(ctx context.Context, err error) error {
	if p := problemOf(err); p != nil && (p.status == http.StatusForbidden || p.status == http.StatusNotFound) {
		return nil
	}
	return b.explain(ctx, err)
}

// projects are all of the cloud, where our role may list them, else our own ones.
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
	if p := problemOf(err); p != nil && p.status == http.StatusForbidden {
		list = nil
		err = projects.ListAvailable(s.identity).EachPage(ctx, collect)
	}
	return list, b.explain(ctx, err)
}

// Images lists what Glance can start a volume with.
func (b *Backend) Images(ctx context.Context) ([]backend.Image, error) {
	s, err := b.session(ctx)
	if err != nil || s.image == nil {
		return nil, err
	}
	var list []backend.Image
	opts := images.ListOpts{Status: images.ImageStatusActive, SortKey: "name", SortDir: "asc", Limit: pageLimit}
	err = images.List(s.image, opts).EachPage(ctx, func(_ context.Context, p pagination.Page) (bool, error) {
		page, err := images.ExtractImages(p)
		for _, i := range page {
			list = append(list, backend.Image{ID: i.ID, Name: i.Name, SizeBytes: i.SizeBytes})
		}
		return true, err
	})
	return list, b.allowed(ctx, err)
}
