package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// formVersion is the version of the row that the form was rendered from; 0: not
// sent.
func formVersion(c echo.Context) int64 {
	n, err := strconv.ParseInt(trimmedValue(c, "version"), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// trimmedValue is an id, a user's name or a number of a form; what is typed as a text
// of its own, such as the name of an object, is c.FormValue.
func trimmedValue(c echo.Context, name string) string { return models.TrimSpace(c.FormValue(name)) }

func isStale(err error) bool { return errors.Is(err, &models.Error{Code: models.CodeStale}) }

// zoneOf is the time zone of the console.
func zoneOf(c echo.Context) *time.Location {
	zone, err := time.LoadLocation(RequestOf(c).Site.TimeZone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// localNow is the present time in the time zone of the console.
func localNow(c echo.Context) time.Time { return RequestOf(c).Site.Now().In(zoneOf(c)) }

// newForm is what the forms of all popups have.
func newForm(c echo.Context, action string) views.Form {
	return views.Form{Action: action, Key: models.NewID(), ReturnTo: LocalPath(c.QueryParam("return_to"), "")}
}

// submittedForm is newForm with the values that were submitted.
func submittedForm(c echo.Context, action string) views.Form {
	return views.Form{Action: action, Key: c.FormValue("form_key"), ReturnTo: LocalPath(c.FormValue("return_to"), "")}
}

// rerenderForm renders a form again with what is wrong with it. It returns an error
// that is none of the form's, and any error to a program.
func rerenderForm(c echo.Context, form *views.Form, err error, title string, popup func() (templ.Component, error)) error {
	status, ok := FormError(form, err)
	if !ok || Wants(c) == JSON {
		return err
	}
	body, err := popup()
	if err != nil {
		return err
	}
	return Render(c, status, T(c, title), body)
}

// FormError puts err into the form, beside its fields or above them, and returns the
// status to answer with. It returns false for an error that is none of the form's.
func FormError(form *views.Form, err error) (status int, ok bool) {
	e := models.AsError(err)
	if e == nil {
		return 0, false
	}
	switch e.Code {
	case models.CodeInvalid:
		form.Errors = FieldErrors(e.Fields)
		if len(e.Fields) != 1 || e.Fields[""].Key != "" {
			form.Error = Msg(e.Text)
		}
		return http.StatusUnprocessableEntity, true
	case models.CodeConflict, models.CodeStale, models.CodeUnsupported:
		form.Error = Msg(e.Text)
		if e.Text.Key == models.FormKeyUsed { // the form as it is now can be sent
			form.Key = models.NewID()
		}
		if e.Denial != nil {
			form.Denial = Denial(e.Denial)
		}
		return http.StatusConflict, true
	case models.CodeUnsaved:
		form.Error = Msg(e.Text)
		return http.StatusInsufficientStorage, true
	}
	return 0, false
}

// FieldErrors converts the messages of fields.
func FieldErrors(fields map[string]models.Text) map[string]views.Message {
	errors := make(map[string]views.Message, len(fields))
	for field, text := range fields {
		errors[field] = Msg(text)
	}
	return errors
}

// targetID is the id in the path, or the only ?id= of a selection; false when none or
// several are selected.
func targetID(c echo.Context) (string, bool) {
	if id := c.Param("id"); id != "" {
		return id, true
	}
	if ids := uniqueIDs(c.QueryParams()["id"]); len(ids) == 1 {
		return ids[0], true
	}
	return "", false
}

// nameStore tells whether another object than except has a name.
type nameStore interface {
	NameTaken(ctx context.Context, actor models.Actor, kind models.SubjectType, name, except string) (bool, error)
}

// nameTaken is for the hint that a name exists already. A name that is refused needs none.
func nameTaken(c echo.Context, store nameStore, kind models.SubjectType, name, except string) (bool, error) {
	if models.ValidateName(name) != nil {
		return false, nil
	}
	return store.NameTaken(c.Request().Context(), Actor(c), kind, name, except)
}

// renderChooser renders the popup that says what to select for a toolbar action.
func renderChooser(c echo.Context, title, list, reason string) error {
	form := newForm(c, "")
	if form.ReturnTo == "" {
		form.ReturnTo = list
	}
	return Render(c, http.StatusOK, T(c, title), views.ChooserPopup(views.Chooser{
		Title: views.Message{Key: title}, Reason: views.Message{Key: reason}, Form: form}))
}

// maxBulk is the maximum number of objects in one popup.
const maxBulk = 100

// uniqueIDs drops empty and repeated ids.
func uniqueIDs(all []string) []string {
	var ids []string
	seen := map[string]bool{"": true}
	for _, id := range all {
		if id = models.TrimSpace(id); !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// formIDs are the ids of a submitted form.
func formIDs(c echo.Context) ([]string, error) {
	params, err := c.FormParams()
	if err != nil {
		return nil, err
	}
	return uniqueIDs(params["id"]), nil
}

const maxInputBytes = 256

// truncateInput cuts what was typed to what a page shows again.
func truncateInput(text string) string {
	if len(text) > maxInputBytes {
		text = text[:maxInputBytes]
	}
	return strings.ToValidUTF8(text, "")
}
