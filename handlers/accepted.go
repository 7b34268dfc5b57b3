package handlers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// pageUpdate is what an accepted operation changes on the page of the click.
type pageUpdate struct {
	list       string // the list it belongs to
	message    views.Message
	detail     views.Message   // what else is to be said
	row        templ.Component // the row as it is now; nil: the list is read again
	rowID      string          // its id in the page
	operations []acceptedJSON  // of a click on many objects: every operation, and what was refused
	refused    []refusedJSON
}

// answerAccepted answers a click whose operation is queued: programs get the
// operation, htmx on the list the changed row.
func answerAccepted(c echo.Context, op *models.Operation, o pageUpdate) error {
	url := activityPath + "/" + op.ID
	if len(o.operations) > 1 && Wants(c) != JSON {
		url = activityPath
	}
	alert := views.Alert{Message: o.message, Detail: o.detail, Link: url, LinkText: views.Message{Key: "accepted.link"}}
	switch {
	case Wants(c) == JSON:
		if o.operations != nil {
			return answerAcceptedJSON(c, url, acceptedManyJSON{toAcceptedJSON(op), o.operations, o.refused})
		}
		return answerAcceptedJSON(c, url, toAcceptedJSON(op))
	case o.row != nil && IsHTMX(c) && isOnList(c, o.list):
		return Fragment(c, http.StatusOK, views.Accepted(alert, o.rowID, o.row), "popup:close")
	}
	return answerChanged(c, o.list, alert)
}

// answerChanged shows the message of a click: htmx closes the popup and reads the list
// or the object again; plain browsers go to the list.
func answerChanged(c echo.Context, list string, alert views.Alert) error {
	if IsHTMX(c) {
		return Fragment(c, http.StatusOK, views.Accepted(alert, "", nil), "popup:close", "list:refresh")
	}
	Notify(c, alert)
	return SeeOther(c, ReturnTo(c, list))
}

// isOnList says that the request was sent from the page of the list.
func isOnList(c echo.Context, list string) bool {
	path, _, _ := strings.Cut(pageURL(c), "?")
	return path == list
}

// operationMessage is the message of key with the name of the operation's object.
func operationMessage(key string, op *models.Operation) views.Message {
	name := op.SubjectName
	if name == "" {
		name = op.SubjectID
	}
	return views.NewMessage(key, name)
}

// acceptedJSON is an operation: its id, its object's id and its URL.
type acceptedJSON struct {
	Operation string `json:"operation"`
	ID        string `json:"id"`
	URL       string `json:"url"`
}

func toAcceptedJSON(op *models.Operation) acceptedJSON {
	return acceptedJSON{Operation: op.ID, ID: op.SubjectID, URL: activityPath + "/" + op.ID}
}

// acceptedManyJSON answers a click on several objects: the last operation, all of
// them, and the objects that were refused.
type acceptedManyJSON struct {
	acceptedJSON
	Operations []acceptedJSON `json:"operations"`
	Refused    []refusedJSON  `json:"refused"`
}

type refusedJSON struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// answerAcceptedJSON answers 202 with the operation's URL as Location.
func answerAcceptedJSON(c echo.Context, url string, body any) error {
	c.Response().Header().Set(echo.HeaderLocation, url)
	Vary(c)
	return c.JSON(http.StatusAccepted, body)
}

const (
	noticeSeconds  = 60
	maxNoticeBytes = 2048
)

// noticeCookie is the name of the cookie with a notice. Its value begins with the code
// that only the session can make: a notice by somebody else could say anything.
func noticeCookie(c echo.Context) string {
	return SessionCookie(RequestOf(c).Site.Secure) + "-notice"
}

func noticeCode(c echo.Context, notice []byte) []byte {
	mac := hmac.New(sha256.New, []byte(RequestOf(c).Token))
	mac.Write(notice)
	return mac.Sum(nil)
}

// Notify shows a message on the next full page, for clicks without JavaScript. A
// cookie carries its keys of the catalog.
func Notify(c echo.Context, alert views.Alert) {
	b, err := json.Marshal(alert)
	if err != nil || len(b) > maxNoticeBytes || RequestOf(c).SignedIn == nil {
		return
	}
	SetCookie(c, noticeCookie(c), base64.RawURLEncoding.EncodeToString(append(noticeCode(c, b), b...)), noticeSeconds)
}

func takeNotices(c echo.Context) []views.Alert {
	cookie, err := c.Cookie(noticeCookie(c))
	if err != nil {
		return nil
	}
	SetCookie(c, noticeCookie(c), "", -1)
	signed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(signed) < sha256.Size || RequestOf(c).SignedIn == nil {
		return nil
	}
	code, b := signed[:sha256.Size], signed[sha256.Size:]
	if !hmac.Equal(code, noticeCode(c, b)) {
		return nil
	}
	var alert views.Alert
	if err := json.Unmarshal(b, &alert); err != nil || !i18n.Has(alert.Message.Key) {
		return nil
	}
	alert.Link = LocalPath(alert.Link, "")
	return []views.Alert{alert}
}

// answerSaved redirects to the page after a change that is no operation, with a
// message.
func answerSaved(c echo.Context, path, key string, args ...string) error {
	if Wants(c) == JSON {
		return c.NoContent(http.StatusNoContent)
	}
	Notify(c, views.Alert{Message: Msg(models.NewText(key, args...))})
	return SeeOther(c, path)
}
