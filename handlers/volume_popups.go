package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// popups are the forms about one object of a kind.
type popups[R any] struct {
	resource
	find func(ctx context.Context, actor models.Actor, id string) (*R, error)
	rule func(action models.Action, row *R) *models.Denial
}

// popup renders a form about an object.
type popup[R any] func(c echo.Context, form views.Form, row *R) (templ.Component, error)

func (h Volumes) popups() popups[models.Volume] {
	return popups[models.Volume]{h.resource, h.Store.Volume, func(action models.Action, v *models.Volume) *models.Denial { return h.Store.Rules().Volume(action, v) }}
}

// render renders the popup of an action for the object in the path or the selection,
// with the reason why it is not possible now.
func (p popups[R]) render(c echo.Context, name string, action models.Action, show popup[R]) error {
	id, ok := targetID(c)
	if !ok {
		return renderChooser(c, p.title(name), p.path, "list.need_one")
	}
	row, err := p.find(c.Request().Context(), Actor(c), id)
	if err != nil {
		return err
	}
	form := newForm(c, p.url(id, name))
	form.Denial = Denial(p.rule(action, row))
	body, err := show(c, form, row)
	if err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, p.title(name)), body)
}

// answer answers a submitted popup: with the operation, or the form again and what is
// wrong with it.
func (p popups[R]) answer(c echo.Context, op *models.Operation, err error, name string, show popup[R]) error {
	if err == nil {
		return p.resource.answer(c, op, name)
	}
	form := submittedForm(c, p.url(c.Param("id"), name))
	return rerenderForm(c, &form, err, p.title(name), func() (templ.Component, error) {
		row, err := p.find(c.Request().Context(), Actor(c), c.Param("id"))
		if err != nil {
			return nil, err
		}
		return show(c, form, row)
	})
}

const (
	volumeCreateTitle = "volume.create"
	maxServerChoices  = 200
)

// NewForm is the popup «Volume 생성»: empty, of an image, or of ?snapshot_id=.
func (h Volumes) NewForm(c echo.Context) error {
	return h.newForm(c, c.QueryParam("snapshot_id"), views.VolumesPath)
}

// RestoreForm is NewForm for the Block Snapshot in the path or the selection.
func (h Volumes) RestoreForm(c echo.Context) error {
	id, ok := targetID(c)
	if !ok {
		return renderChooser(c, volumeCreateTitle, views.SnapshotsPath, "list.need_one")
	}
	return h.newForm(c, id, views.SnapshotsPath+"/"+id+"/restore")
}

func (h Volumes) newForm(c echo.Context, snapshotID, action string) error {
	m := views.VolumeCreate{Form: newForm(c, action), SizeGiB: "10"}
	if err := h.fillCreateForm(c, &m, snapshotID); err != nil {
		return err
	}
	if m.Snapshot != nil {
		m.SizeGiB = strconv.Itoa(m.Snapshot.SizeGiB)
		m.Quotas = h.quotas(&m)
	}
	return Render(c, http.StatusOK, T(c, volumeCreateTitle), views.VolumeCreatePopup(m))
}

// fillCreateForm loads what the popup offers.
func (h Volumes) fillCreateForm(c echo.Context, m *views.VolumeCreate, snapshotID string) error {
	ctx, actor, caps := c.Request().Context(), Actor(c), h.Store.Capabilities()
	m.MinGiB, m.MaxGiB, m.FreeBytes, m.Types, m.Zones = 1, caps.MaxSizeGiB, caps.FreeBytes, offeredTypes(caps.Types), caps.Zones
	if snapshotID != "" {
		snapshot, err := h.Store.Snapshot(ctx, actor, snapshotID)
		if err != nil {
			return err
		}
		brief := snapshotBrief(snapshot)
		m.Snapshot, m.MinGiB = &brief, snapshot.SizeGiB
		if m.Denial == nil {
			m.Denial = Denial(h.Store.Rules().Snapshot(models.ActRestore, snapshot))
		}
	} else if caps.Images {
		images, err := h.Store.ListImages(ctx)
		if err != nil {
			return err
		}
		slices.SortStableFunc(images, func(a, b models.Image) int { return cmp.Compare(min(len(a.Unusable), 1), min(len(b.Unusable), 1)) })
		for _, i := range images {
			brief := views.ImageBrief{ID: i.ID, Name: i.Name, SizeBytes: i.SizeBytes, Format: i.Format, Container: i.Container()}
			if why := i.Denial(true); why != nil {
				brief.Unusable = Msg(*why)
			}
			m.Images = append(m.Images, brief)
		}
	}
	if m.Denial == nil {
		m.Denial = Denial(h.Store.Rules().Room(models.ActCreateVolume))
	}
	m.Quotas = h.quotas(m)
	var err error
	if m.NameTaken, err = nameTaken(c, h.Store, models.SubjectVolume, m.Name, ""); err != nil {
		return err
	}
	m.Servers, err = serverChoices(c, h.Store, "")
	return err
}

// cinderDefaultType is the volume type that Cinder makes for clouds without types. The
// popup has its own «default», so it is not offered; a program may ask for it.
const cinderDefaultType = "__DEFAULT__"

func offeredTypes(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == cinderDefaultType })
}

// quotas are the quotas for the size and the type in the form.
func (h Volumes) quotas(m *views.VolumeCreate) []views.Quota {
	return quotaViews(models.QuotaForVolume(h.Store.Capabilities(), parseGiB(m.SizeGiB)), m.VolumeType, 0, true)
}

// Create makes a volume.
func (h Volumes) Create(c echo.Context) error {
	return h.create(c, trimmedValue(c, "snapshot_id"), views.VolumesPath)
}

// Restore makes a volume of the Block Snapshot in the path.
func (h Volumes) Restore(c echo.Context) error {
	id := c.Param("id")
	return h.create(c, id, views.SnapshotsPath+"/"+id+"/restore")
}

func (h Volumes) create(c echo.Context, snapshotID, action string) error {
	m := views.VolumeCreate{
		Form: submittedForm(c, action), Name: c.FormValue("name"), Description: c.FormValue("description"), SizeGiB: trimmedValue(c, "size_gib"),
		Image: trimmedValue(c, "image"), Raw: trimmedValue(c, "raw") == "1", ServerID: trimmedValue(c, "server_id"), VolumeType: trimmedValue(c, "volume_type"), Zone: trimmedValue(c, "availability_zone"),
	}
	op, err := h.Store.CreateVolume(c.Request().Context(), Actor(c), models.VolumeInput{
		Name: m.Name, Description: m.Description, Size: m.SizeGiB, SnapshotID: snapshotID, ImageID: m.Image, Raw: m.Raw,
		ServerID: m.ServerID, Type: m.VolumeType, Zone: m.Zone, FormKey: m.Key,
	})
	if err != nil && c.Param("id") != "" {
		// After CreateVolume: a form sent twice has the same answer, even when its snapshot is gone.
		if _, gone := h.Store.Snapshot(c.Request().Context(), Actor(c), snapshotID); gone != nil {
			return gone
		}
	}
	if err != nil {
		return rerenderForm(c, &m.Form, err, volumeCreateTitle, func() (templ.Component, error) {
			err := h.fillCreateForm(c, &m, snapshotID)
			if errors.Is(err, models.ErrNotFound) {
				m.Error, err = views.Message{Key: "source.not_found"}, nil // the form goes on without it
			}
			showHiddenErrors(&m)
			return views.VolumeCreatePopup(m), err
		})
	}
	key := "accepted.volume.create"
	if op.Kind == models.SnapshotRestore {
		key = "accepted.snapshot.restore"
	}
	return answerAccepted(c, op, pageUpdate{list: views.VolumesPath, message: operationMessage(key, op)})
}

// showHiddenErrors moves the error of a field that the form does not show above the
// form.
func showHiddenErrors(m *views.VolumeCreate) {
	for _, field := range []struct {
		name  string
		shown bool
	}{
		{"snapshot_id", false}, {"image", len(m.Images) > 0 && m.Snapshot == nil}, {"server_id", len(m.Servers) > 0},
		{"volume_type", len(m.Types) > 0}, {"availability_zone", len(m.Zones) > 0},
	} {
		if why := m.Errors[field.name]; why.Key != "" && !field.shown {
			m.Error = why
			return
		}
	}
}

// parseGiB is the size as typed in GiB; 0 when it is no number.
func parseGiB(text string) int {
	n, err := strconv.Atoi(models.TrimSpace(text))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// ExtendForm is the popup «Volume 확장».
func (h Volumes) ExtendForm(c echo.Context) error {
	return h.popups().render(c, "extend", models.ActExtend, h.extendPopup)
}

// Extend grows a volume.
func (h Volumes) Extend(c echo.Context) error {
	op, err := h.Store.ExtendVolume(c.Request().Context(), Actor(c), c.Param("id"), trimmedValue(c, "size_gib"), c.FormValue("form_key"))
	return h.popups().answer(c, op, err, "extend", h.extendPopup)
}

func (h Volumes) extendPopup(c echo.Context, form views.Form, row *models.Volume) (templ.Component, error) {
	caps, size := h.Store.Capabilities(), strconv.Itoa(row.SizeGiB+1)
	if c.Request().Method == http.MethodPost {
		size = trimmedValue(c, "size_gib")
	}
	m := views.Extend{Form: form, Volume: volumeBrief(row), SizeGiB: size, MinGiB: row.SizeGiB + 1, MaxGiB: caps.MaxSizeGiB, FreeBytes: caps.FreeBytes}
	if row.ProjectID == h.Store.OwnProjectID() { // another project's limits are not known
		m.Quotas = quotaViews(models.QuotaForExtension(caps, parseGiB(size)-row.SizeGiB), row.VolumeType, row.SizeGiB, true)
	}
	return views.ExtendPopup(m), nil
}

// AttachForm is the popup «Volume 연결».
func (h Volumes) AttachForm(c echo.Context) error {
	return h.popups().render(c, "attach", models.ActAttach, h.attachPopup)
}

// Attach attaches a volume to a server.
func (h Volumes) Attach(c echo.Context) error {
	op, err := h.Store.AttachVolume(c.Request().Context(), Actor(c), c.Param("id"), trimmedValue(c, "server_id"), c.FormValue("form_key"))
	return h.popups().answer(c, op, err, "attach", h.attachPopup)
}

func (h Volumes) attachPopup(c echo.Context, form views.Form, row *models.Volume) (templ.Component, error) {
	servers, err := serverChoices(c, h.Store, row.ProjectID)
	return views.AttachPopup(views.Attach{Form: form, Volume: volumeBrief(row), Servers: servers, ServerID: trimmedValue(c, "server_id"),
		RegisteredServers: h.Store.Capabilities().OwnServers}), err
}

// DetachForm is the popup «Volume 연결 해제».
func (h Volumes) DetachForm(c echo.Context) error {
	return h.popups().render(c, "detach", models.ActDetach, h.detachPopup)
}

// Detach detaches a volume from a server.
func (h Volumes) Detach(c echo.Context) error {
	op, err := h.Store.DetachVolume(c.Request().Context(), Actor(c), c.Param("id"), trimmedValue(c, "server_id"), c.FormValue("force") == "1", c.FormValue("form_key"))
	return h.popups().answer(c, op, err, "detach", h.detachPopup)
}

func (h Volumes) detachPopup(c echo.Context, form views.Form, row *models.Volume) (templ.Component, error) {
	m := detachView(c, form, &row.Attached, h.Store.Capabilities().OwnServers)
	m.Volume, m.AlreadyWaiting = volumeBrief(row), row.Status == models.Detaching
	return views.DetachPopup(m), nil
}

// detachView is what the popups that detach have in common. served: a detach waits for
// clients.
func detachView(c echo.Context, form views.Form, of *models.Attached, served bool) views.Detach {
	m := views.Detach{Form: form, ServerID: trimmedValue(c, "server_id"), Force: c.FormValue("force") == "1",
		WaitsForClients: served, Attached: attachedServers(of)}
	for _, a := range of.Attachments {
		m.Servers = append(m.Servers, views.Link{ID: a.ServerID, Name: a.ServerName})
	}
	return m
}

// serverStore is what serverChoices needs.
type serverStore interface {
	Capabilities() models.Capabilities
	ServersOfProject(ctx context.Context, actor models.Actor, project string, limit int) ([]models.Server, error)
}

// serverChoices are the servers that an object of the project can be attached to; an
// empty project is that of new volumes.
func serverChoices(c echo.Context, store serverStore, project string) ([]views.Link, error) {
	if !store.Capabilities().Attach {
		return nil, nil
	}
	rows, err := store.ServersOfProject(c.Request().Context(), Actor(c), project, maxServerChoices)
	var all []views.Link
	for _, s := range rows {
		all = append(all, views.Link{ID: s.ID, Name: s.Name})
	}
	return all, err
}
