package openstack

import (
	"context"

	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"blockconsole/models/backend"
)

// Images lists Glance's active images.
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
	return list, b.ignoreForbidden(ctx, err)
}
