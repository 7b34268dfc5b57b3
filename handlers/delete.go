package handlers

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// deletion is what deleting volumes and snapshots differ in.
type deletion struct {
	kind string // volume, snapshot
	list string
	// look says what an object is and why it cannot be deleted; nil: it can.
	look func(ctx context.Context, actor models.Actor, id string) (views.DeleteItem, *models.Denial, error)
	ask  func(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error)
	// row is the object's row as it is now.
	row func(ctx context.Context, actor models.Actor, id string) (templ.Component, error)
}

func (d deletion) title() string { return d.kind + ".delete" }

// form is the popup for the object in the path or for the selected ones.
func (d deletion) form(c echo.Context) error {
	ids := uniqueIDs(c.QueryParams()["id"])
	if id := c.Param("id"); id != "" {
		ids = []string{id}
	}
	switch {
	case len(ids) == 0:
		return renderChooser(c, d.title(), d.list, "list.need_many")
	case len(ids) > maxBulk:
		return renderChooser(c, d.title(), d.list, "list.too_many")
	}
	m := views.Delete{Form: newForm(c, d.list+"/delete"), Kind: d.kind}
	if len(ids) == 1 {
		m.Action = d.list + "/" + ids[0] + "/delete"
	}
	if err := d.fill(c, &m, ids); err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, d.title()), views.DeletePopup(m))
}

// fill sorts the objects into those that will go and those that stay. A single
// object that cannot be deleted is a denial with its reason.
func (d deletion) fill(c echo.Context, m *views.Delete, ids []string) error {
	for _, id := range ids {
		item, denial, err := d.look(c.Request().Context(), Actor(c), id)
		switch {
		case err != nil && len(ids) == 1:
			return err
		case err != nil:
			denial = &models.Denial{Text: models.NewText("error.404")}
			item.ID = id
		}
		switch {
		case denial == nil:
			m.Items = append(m.Items, item)
		case len(ids) == 1:
			m.Denial = Denial(denial)
		default:
			m.Blocked = append(m.Blocked, views.BlockedItem{DeleteItem: item, Denial: *Denial(denial)})
		}
	}
	return nil
}

// one deletes the object in the path.
func (d deletion) one(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	op, err := d.ask(ctx, actor, id, c.FormValue("form_key"))
	if err != nil {
		m := views.Delete{Form: submittedForm(c, d.list+"/"+id+"/delete"), Kind: d.kind}
		return rerenderForm(c, &m.Form, err, d.title(), func() templ.Component {
			if m.Denial == nil {
				m.Denial = &views.Denial{Reason: m.Error}
			}
			return views.DeletePopup(m)
		})
	}
	o := pageUpdate{list: d.list, message: operationMessage("accepted."+d.kind+".delete", op)}
	if row, err := d.row(ctx, actor, op.SubjectID); err == nil {
		o.row, o.rowID = row, d.kind+"-"+op.SubjectID
	}
	return answerAccepted(c, op, o)
}

// many deletes the selected objects: each that can go goes, the others are told.
func (d deletion) many(c echo.Context) error {
	ids, err := formIDs(c)
	if err != nil {
		return err
	}
	switch {
	case len(ids) == 0:
		return models.Invalid("id", models.NewText("list.need_many"))
	case len(ids) > maxBulk:
		return models.Invalid("id", models.NewText("list.too_many"))
	}
	m := views.Delete{Form: submittedForm(c, d.list+"/delete"), Kind: d.kind}
	o := pageUpdate{list: d.list, operations: []acceptedJSON{}, refused: []refusedJSON{}}
	var last *models.Operation
	for _, id := range ids {
		key := m.Key
		if key != "" {
			key += ":" + id
		}
		op, err := d.ask(c.Request().Context(), Actor(c), id, key)
		if err == nil {
			last = op
			o.operations = append(o.operations, toAcceptedJSON(op))
			continue
		}
		e := models.AsError(err)
		if e == nil {
			return err
		}
		item, _, lookErr := d.look(c.Request().Context(), Actor(c), id)
		if lookErr != nil {
			item.ID = id
		}
		denial := e.Denial
		if denial == nil {
			denial = &models.Denial{Text: e.Text}
		}
		m.Blocked = append(m.Blocked, views.BlockedItem{DeleteItem: item, Denial: *Denial(denial)})
		o.refused = append(o.refused, refusedJSON{ID: id, Reason: T(c, denial.Text.Key, anySlice(denial.Text.Args)...)})
	}
	if last == nil {
		return d.noneDeleted(c, m)
	}
	asked := strconv.Itoa(len(o.operations))
	o.message = views.Message{Key: "accepted." + d.kind + ".delete_many", Args: [4]string{asked}}
	if len(m.Blocked) > 0 {
		o.message = views.Message{Key: "accepted.delete_partly", Args: [4]string{asked, strconv.Itoa(len(m.Blocked))}}
	}
	return answerAccepted(c, last, o)
}

func (d deletion) noneDeleted(c echo.Context, m views.Delete) error {
	if Wants(c) == JSON {
		return &models.Error{Code: models.CodeConflict, Text: models.NewText("delete.none")}
	}
	return Render(c, http.StatusConflict, T(c, d.title()), views.DeletePopup(m))
}

func (h Snapshots) deletion() deletion {
	return deletion{kind: "snapshot", list: views.SnapshotsPath, ask: h.Store.DeleteSnapshot,
		look: func(ctx context.Context, actor models.Actor, id string) (views.DeleteItem, *models.Denial, error) {
			s, err := h.Store.Snapshot(ctx, actor, id)
			if err != nil {
				return views.DeleteItem{}, nil, err
			}
			item := views.DeleteItem{ID: s.ID, Name: s.Name, Status: string(s.Status), SizeGiB: s.SizeGiB,
				Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, CreatedAt: s.CreatedAt}
			blockers, err := h.Store.SnapshotBlockers(ctx, s)
			return item, h.Store.Rules().Snapshot(models.ActDelete, s, blockers...), err
		},
		row: func(ctx context.Context, actor models.Actor, id string) (templ.Component, error) {
			s, err := h.Store.Snapshot(ctx, actor, id)
			if err != nil {
				return nil, err
			}
			return views.SnapshotRowHTML(snapshotRow(s, h.Store.Rules(), projectNamesOf(h.Store))), nil
		}}
}

func (h Volumes) deletion() deletion {
	return deletion{kind: "volume", list: views.VolumesPath, ask: h.Store.DeleteVolume,
		look: func(ctx context.Context, actor models.Actor, id string) (views.DeleteItem, *models.Denial, error) {
			v, err := h.Store.Volume(ctx, actor, id)
			if err != nil {
				return views.DeleteItem{}, nil, err
			}
			item := views.DeleteItem{ID: v.ID, Name: v.Name, Status: string(v.Status), SizeGiB: v.SizeGiB, CreatedAt: v.CreatedAt, Servers: v.ServerNames()}
			denial := h.Store.Rules().Volume(models.ActDelete, v)
			if denial != nil {
				denial.Snaps, err = h.Store.VolumeBlockers(ctx, v)
			}
			return item, denial, err
		},
		row: func(ctx context.Context, actor models.Actor, id string) (templ.Component, error) {
			v, err := h.Store.Volume(ctx, actor, id)
			if err != nil {
				return nil, err
			}
			return views.VolumeRowHTML(volumeRow(v, h.Store.Rules(), projectNamesOf(h.Store))), nil
		}}
}

// DeleteForm is the popup «Block Snapshot 삭제».
func (h Snapshots) DeleteForm(c echo.Context) error { return h.deletion().form(c) }

// Delete deletes the snapshot in the path.
func (h Snapshots) Delete(c echo.Context) error { return h.deletion().one(c) }

// DeleteMany deletes the selected snapshots.
func (h Snapshots) DeleteMany(c echo.Context) error { return h.deletion().many(c) }

// DeleteForm is the popup «Volume 삭제».
func (h Volumes) DeleteForm(c echo.Context) error { return h.deletion().form(c) }

// Delete deletes the volume in the path.
func (h Volumes) Delete(c echo.Context) error { return h.deletion().one(c) }

// DeleteMany deletes the selected volumes.
func (h Volumes) DeleteMany(c echo.Context) error { return h.deletion().many(c) }
