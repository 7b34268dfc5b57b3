package handlers

import (
	"net/http"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// newForm is the part that all popups' forms have.
func newForm(c echo.Context, action string) views.Form {
	return views.Form{Action: action, Key: models.NewID(), ReturnTo: LocalPath(c.QueryParam("return_to"), "")}
}

// sentForm is newForm for a form that is shown again: with what it was sent with.
func sentForm(c echo.Context, action string) views.Form {
	return views.Form{Action: action, Key: c.FormValue("form_key"), ReturnTo: LocalPath(c.FormValue("return_to"), "")}
}

// again shows a form again with what is wrong with it, or passes on an error that
// is none of the form's.
func again(c echo.Context, form *views.Form, err error, title string, popup func() templ.Component) error {
	status, ok := FormError(form, err)
	if !ok || Wants(c) == JSON {
		return err
	}
	return Render(c, status, T(c, title), popup())
}

// outcome is what an accepted click changes on the page that asked.
type outcome struct {
	list    string // the list it belongs to
	message views.Message
	row     templ.Component // the row as it is now; nil: the list is read again
	rowID   string          // its id in the page
	all     []acceptedJSON  // of a click on many objects: every operation, and what was refused
	refused []refusedJSON
}

// accepted answers a click: programs get the operation, htmx the closed popup and
// the changed row, plain browsers the list with the message above it.
func accepted(c echo.Context, op *models.Operation, o outcome) error {
	url := activityPath + "/" + op.ID
	if len(o.all) > 1 && Wants(c) != JSON {
		url = activityPath
	}
	alert := views.Alert{Message: o.message, Link: url, LinkText: views.Message{Key: "accepted.link"}}
	switch {
	case Wants(c) == JSON:
		if o.all != nil {
			return tellAccepted(c, url, acceptedManyJSON{toAcceptedJSON(op), o.all, o.refused})
		}
		return tellAccepted(c, url, toAcceptedJSON(op))
	case !IsHTMX(c):
		Notify(c, alert)
		return SeeOther(c, ReturnTo(c, o.list))
	case o.row != nil && onList(c, o.list):
		return Fragment(c, http.StatusOK, views.Accepted(alert, o.rowID, o.row), "popup:close")
	case onList(c, views.VolumesPath), onList(c, views.SnapshotsPath):
		return Fragment(c, http.StatusOK, views.Accepted(alert, "", nil), "popup:close", "list:refresh")
	}
	// A page that is no list is simply read again.
	Notify(c, alert)
	c.Response().Header().Set("HX-Refresh", "true")
	return c.NoContent(http.StatusOK)
}

// onList says that the request comes from the page of the list.
func onList(c echo.Context, list string) bool {
	path, _, _ := strings.Cut(pageURL(c), "?")
	return path == list
}

// message is what is said after a click on the named object.
func message(key string, op *models.Operation) views.Message {
	name := op.SubjectName
	if name == "" {
		name = op.SubjectID
	}
	return views.Message{Key: key, Args: [4]string{name}}
}

// oneID is the id that a toolbar action is about: from the path, or the single
// ?id=. Otherwise the chooser says what to select.
func oneID(c echo.Context) (string, bool) {
	if id := c.Param("id"); id != "" {
		return id, true
	}
	if ids := selectedIDs(c.QueryParams()["id"]); len(ids) == 1 {
		return ids[0], true
	}
	return "", false
}

// choose is the popup of a toolbar action whose selection does not fit.
func choose(c echo.Context, title, list, reason string) error {
	form := newForm(c, "")
	if form.ReturnTo == "" {
		form.ReturnTo = list
	}
	return Render(c, http.StatusOK, T(c, title), views.ChooserPopup(views.Chooser{
		Title: views.Message{Key: title}, Reason: views.Message{Key: reason}, Form: form}))
}

// bulkLimit is how many objects one popup takes.
const bulkLimit = 100

// selectedIDs are the ids of a selection, each once.
func selectedIDs(all []string) []string {
	var ids []string
	seen := map[string]bool{"": true}
	for _, id := range all {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// formIDs are the ids that a form was sent with.
func formIDs(c echo.Context) ([]string, error) {
	params, err := c.FormParams()
	if err != nil {
		return nil, err
	}
	return selectedIDs(params["id"]), nil
}
