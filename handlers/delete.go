package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// DeleteForm is the popup «삭제» of the object in the path, or of the selected ones.
func (r resource) DeleteForm(c echo.Context) error {
	ids := uniqueIDs(c.QueryParams()["id"])
	if id := c.Param("id"); id != "" {
		ids = []string{id}
	}
	switch {
	case len(ids) == 0:
		return renderChooser(c, r.title("delete"), r.path, "list.need_many")
	case len(ids) > maxBulk:
		return renderChooser(c, r.title("delete"), r.path, "list.too_many")
	}
	m := views.Delete{Form: newForm(c, r.path+"/delete"), Kind: string(r.kind)}
	if len(ids) == 1 {
		m.Action = r.url(ids[0], "delete")
	}
	if err := r.fillDelete(c, &m, ids); err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, r.title("delete")), views.DeletePopup(m))
}

// fillDelete divides the objects into those that can be deleted and those that
// cannot. A single one that cannot is the popup's denial.
func (r resource) fillDelete(c echo.Context, m *views.Delete, ids []string) error {
	for _, id := range ids {
		item, denial, err := r.deletable(c.Request().Context(), Actor(c), id)
		switch {
		case err != nil && (len(ids) == 1 || !errors.Is(err, models.ErrNotFound)):
			return err
		case err != nil:
			denial = models.NewDenial("error.404")
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

// Delete deletes the object in the path.
func (r resource) Delete(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	op, err := r.delete(ctx, actor, id, c.FormValue("form_key"))
	var gone *models.GoneError
	if errors.As(err, &gone) && Wants(c) != JSON {
		return r.answerGone(c, gone.Name)
	}
	if err != nil {
		m := views.Delete{Form: submittedForm(c, r.url(id, "delete")), Kind: string(r.kind)}
		return rerenderForm(c, &m.Form, err, r.title("delete"), func() (templ.Component, error) {
			if m.Denial == nil {
				m.Denial = &views.Denial{Reason: m.Error}
			}
			return views.DeletePopup(m), nil
		})
	}
	return r.answer(c, op, "delete")
}

// DeleteMany deletes those of the selected objects that can be deleted, and names the
// others.
func (r resource) DeleteMany(c echo.Context) error {
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
	m := views.Delete{Form: submittedForm(c, r.path+"/delete"), Kind: string(r.kind)}
	update := pageUpdate{list: r.path, operations: []acceptedJSON{}, refused: []refusedJSON{}}
	var last *models.Operation
	var goneNames []string
	for _, id := range ids {
		key := m.Key
		if key != "" {
			key += ":" + id
		}
		op, err := r.delete(c.Request().Context(), Actor(c), id, key)
		if err == nil {
			last = op
			update.operations = append(update.operations, toAcceptedJSON(op))
			continue
		}
		e := models.AsError(err)
		if e == nil {
			return err
		}
		var gone *models.GoneError
		if errors.As(err, &gone) && Wants(c) != JSON {
			goneNames = append(goneNames, gone.Name)
			continue
		}
		blocked, reason, err := r.blocked(c, id, e)
		if err != nil {
			return err
		}
		m.Blocked = append(m.Blocked, blocked)
		update.refused = append(update.refused, refusedJSON{ID: id, Reason: reason})
	}
	switch {
	case last == nil && len(m.Blocked) == 0:
		return r.answerGone(c, goneNames...)
	case last == nil:
		return r.noneDeleted(c, m)
	case len(goneNames) > 0:
		update.detail = views.NewMessage("accepted."+r.title("gone"), strings.Join(goneNames, ", "))
	}
	asked := strconv.Itoa(len(update.operations))
	update.message = views.NewMessage("accepted."+r.title("delete_many"), asked)
	if len(m.Blocked) > 0 {
		update.message = views.NewMessage("accepted.delete_partly", asked, strconv.Itoa(len(m.Blocked)))
	}
	return answerAccepted(c, last, update)
}

// blocked is an object that was not deleted, and the reason in words.
func (r resource) blocked(c echo.Context, id string, e *models.Error) (views.BlockedItem, string, error) {
	item := views.DeleteItem{ID: id}
	switch o, err := r.load(c.Request().Context(), Actor(c), id); {
	case err == nil:
		item = o.DeleteItem
	case !errors.Is(err, models.ErrNotFound):
		return views.BlockedItem{}, "", err
	}
	denial := e.Denial
	if denial == nil {
		denial = &models.Denial{Text: e.Text}
	}
	return views.BlockedItem{DeleteItem: item, Denial: *Denial(denial)}, TextOf(c, denial.Text), nil
}

func (r resource) noneDeleted(c echo.Context, m views.Delete) error {
	if Wants(c) == JSON {
		return &models.Error{Code: models.CodeConflict, Text: models.NewText("delete.none")}
	}
	return Render(c, http.StatusConflict, T(c, r.title("delete")), views.DeletePopup(m))
}

// deletable returns the object as the popup shows it, and why it cannot be deleted.
func (r resource) deletable(ctx context.Context, actor models.Actor, id string) (views.DeleteItem, *models.Denial, error) {
	o, err := r.load(ctx, actor, id)
	if err != nil {
		return views.DeleteItem{}, nil, err
	}
	denial, err := o.deleteDenial(ctx)
	return o.DeleteItem, denial, err
}
