package handlers

import (
	"net/http"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// pageUpdate is what an accepted click changes on the page that asked.
type pageUpdate struct {
	list       string // the list it belongs to
	message    views.Message
	row        templ.Component // the row as it is now; nil: the list is read again
	rowID      string          // its id in the page
	operations []acceptedJSON  // of a click on many objects: every operation, and what was refused
	refused    []refusedJSON
}

// answerAccepted answers a click: programs get the operation, htmx the closed popup and
// the changed row, plain browsers the list with the message above it.
func answerAccepted(c echo.Context, op *models.Operation, o pageUpdate) error {
	url := activityPath + "/" + op.ID
	if len(o.operations) > 1 && Wants(c) != JSON {
		url = activityPath
	}
	alert := views.Alert{Message: o.message, Link: url, LinkText: views.Message{Key: "accepted.link"}}
	switch {
	case Wants(c) == JSON:
		if o.operations != nil {
			return answerAcceptedJSON(c, url, acceptedManyJSON{toAcceptedJSON(op), o.operations, o.refused})
		}
		return answerAcceptedJSON(c, url, toAcceptedJSON(op))
	case !IsHTMX(c):
		Notify(c, alert)
		return SeeOther(c, ReturnTo(c, o.list))
	case o.row != nil && isOnList(c, o.list):
		return Fragment(c, http.StatusOK, views.Accepted(alert, o.rowID, o.row), "popup:close")
	case isOnList(c, views.VolumesPath), isOnList(c, views.SnapshotsPath):
		return Fragment(c, http.StatusOK, views.Accepted(alert, "", nil), "popup:close", "list:refresh")
	}
	// A page that is no list is simply read again.
	Notify(c, alert)
	c.Response().Header().Set("HX-Refresh", "true")
	return c.NoContent(http.StatusOK)
}

// isOnList says that the request comes from the page of the list.
func isOnList(c echo.Context, list string) bool {
	path, _, _ := strings.Cut(pageURL(c), "?")
	return path == list
}

// operationMessage is what is said after a click on the named object.
func operationMessage(key string, op *models.Operation) views.Message {
	name := op.SubjectName
	if name == "" {
		name = op.SubjectID
	}
	return views.Message{Key: key, Args: [4]string{name}}
}

// acceptedJSON tells programs after a click where the operation is and which object
// it is about.
type acceptedJSON struct {
	Operation string `json:"operation"`
	ID        string `json:"id"`
	URL       string `json:"url"`
}

func toAcceptedJSON(op *models.Operation) acceptedJSON {
	return acceptedJSON{Operation: op.ID, ID: op.SubjectID, URL: activityPath + "/" + op.ID}
}

// acceptedManyJSON is the same after a click on many objects: the last operation,
// all of them, and what was refused.
type acceptedManyJSON struct {
	acceptedJSON
	Operations []acceptedJSON `json:"operations"`
	Refused    []refusedJSON  `json:"refused"`
}

type refusedJSON struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// answerAcceptedJSON answers a program: 202, and the place of the operation.
func answerAcceptedJSON(c echo.Context, url string, body any) error {
	c.Response().Header().Set(echo.HeaderLocation, url)
	Vary(c)
	return c.JSON(http.StatusAccepted, body)
}
