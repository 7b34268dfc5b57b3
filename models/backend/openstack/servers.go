package openstack

import (
	"context"
	"net/http"

	"blockconsole/models/backend"
)

type server struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Project   string    `json:"tenant_id"`
	CreatedAt timestamp `json:"created"`
}

// Servers lists Nova's servers in the order of creation.
func (b *Backend) Servers(ctx context.Context, after string, limit int) (backend.Page[backend.Server], error) {
	s, err := b.session(ctx)
	if err != nil || s.compute == nil {
		return backend.Page[backend.Server]{}, err
	}
	nova, err := s.novaClient(ctx)
	if err != nil {
		return backend.Page[backend.Server]{}, b.translate(ctx, err)
	}
	list := func(*session) listing[server] {
		return listing[server]{
			page: func(ctx context.Context, after string, limit int) ([]server, bool, error) {
				q := b.query(after, limit)
				q["sort_key"], q["sort_dir"] = []string{"created_at", "uuid"}, []string{"asc", "asc"}
				return getPage[server](ctx, nova, "servers/detail", "servers", q)
			},
			markerOf:   func(sv server) marker { return marker{sv.CreatedAt.Time, sv.ID} },
			markerGone: func(p *apiError) bool { return p.status == http.StatusBadRequest && p.contains("marker") },
		}
	}
	show := func(_ *session, sv server) backend.Server {
		return backend.Server{ID: sv.ID, Name: sv.Name, Status: sv.Status, Project: sv.Project, CreatedAt: sv.CreatedAt.Time}
	}
	return listPage(ctx, b, list, show, after, limit)
}
