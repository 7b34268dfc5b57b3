package handlers

import (
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

const (
	noticeCookie   = "blockconsole-notice"
	noticeSeconds  = 60
	maxNoticeBytes = 2048
)

// Notify shows a message on the next full page, for clicks without JavaScript. A
// cookie carries its keys of the catalog.
func Notify(c echo.Context, alert views.Alert) {
	b, err := json.Marshal(alert)
	if err != nil || len(b) > maxNoticeBytes {
		return
	}
	SetCookie(c, noticeCookie, base64.RawURLEncoding.EncodeToString(b), noticeSeconds)
}

func takeNotices(c echo.Context) []views.Alert {
	cookie, err := c.Cookie(noticeCookie)
	if err != nil {
		return nil
	}
	SetCookie(c, noticeCookie, "", -1)
	b, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(b) > maxNoticeBytes {
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
