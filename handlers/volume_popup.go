package handlers

import (
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// volumePopup renders a form about a volume.
type volumePopup func(c echo.Context, form views.Form, row *models.Volume) (templ.Component, error)

// renderPopup renders the popup of an action for the volume in the path or the
// selection, with the reason why it is not possible now.
func (h Volumes) renderPopup(c echo.Context, name string, action models.Action, popup volumePopup) error {
	id, ok := targetID(c)
	if !ok {
		return renderChooser(c, h.title(name), views.VolumesPath, "list.need_one")
	}
	row, err := h.Store.Volume(c.Request().Context(), Actor(c), id)
	if err != nil {
		return err
	}
	form := newForm(c, h.url(row.ID, name))
	form.Denial = Denial(h.Store.Rules().Volume(action, row))
	body, err := popup(c, form, row)
	if err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, h.title(name)), body)
}

// answerPopup answers a submitted popup: with the operation, or the form again and
// what is wrong with it.
func (h Volumes) answerPopup(c echo.Context, op *models.Operation, err error, name string, popup volumePopup) error {
	if err == nil {
		return h.resource.answer(c, op, name)
	}
	form := submittedForm(c, h.url(c.Param("id"), name))
	return rerenderForm(c, &form, err, h.title(name), func() (templ.Component, error) {
		row, err := h.Store.Volume(c.Request().Context(), Actor(c), c.Param("id"))
		if err != nil {
			return nil, err
		}
		return popup(c, form, row)
	})
}
