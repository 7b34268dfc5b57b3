package handlers

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

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
		for _, i := range images {
			m.Images = append(m.Images, views.ImageBrief{ID: i.ID, Name: i.Name, SizeBytes: i.SizeBytes})
		}
	}
	m.Quotas = h.quotas(m)
	var err error
	m.Servers, err = h.serverChoices(c, "")
	return err
}

// cinderDefaultType is the volume type that Cinder makes for clouds without types. The
// popup has its own «default», so it is not offered; a program may ask for it.
const cinderDefaultType = "__DEFAULT__"

func offeredTypes(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == cinderDefaultType })
}

// quotaViews are the quotas for the size and the type in the form.
func (h Volumes) quotas(m *views.VolumeCreate) []views.Quota {
	return quotaViews(models.QuotaForVolume(h.Store.Capabilities(), parseGiB(m.SizeGiB)), m.VolumeType, 0, true)
}

// Create makes a volume.
func (h Volumes) Create(c echo.Context) error {
	return h.create(c, c.FormValue("snapshot_id"), views.VolumesPath)
}

// Restore makes a volume of the Block Snapshot in the path.
func (h Volumes) Restore(c echo.Context) error {
	id := c.Param("id")
	return h.create(c, id, views.SnapshotsPath+"/"+id+"/restore")
}

func (h Volumes) create(c echo.Context, snapshotID, action string) error {
	m := views.VolumeCreate{
		Form: submittedForm(c, action), Name: c.FormValue("name"), Description: c.FormValue("description"), SizeGiB: c.FormValue("size_gib"),
		Image: c.FormValue("image"), ServerID: c.FormValue("server_id"), VolumeType: c.FormValue("volume_type"), Zone: c.FormValue("availability_zone"),
	}
	op, err := h.Store.CreateVolume(c.Request().Context(), Actor(c), models.VolumeInput{
		Name: m.Name, Description: m.Description, Size: m.SizeGiB, SnapshotID: snapshotID, ImageID: m.Image,
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
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
