package web_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/web"
	"blockconsole/web/app/apptest"
)

// anonymous is the role of nobody.
const anonymous models.Role = ""

// newConsole is a console whose routes below /test/ fail in every way. Settings are
// NAME=value, without BLOCKCONSOLE_.
func newConsole(t *testing.T, settings ...string) *apptest.Console {
	t.Helper()
	c := apptest.New(t, settings...)
	web.AddTestRoutes(c.Server)
	return c
}
