package handlers

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/views"
)

// Help is the user guide.
func Help(c echo.Context) error {
	return Render(c, http.StatusOK, T(c, "nav.help"), views.HelpPage())
}
