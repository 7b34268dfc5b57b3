package handlers_test

import (
	"regexp"
	"testing"

	"blockconsole/web/app/apptest"
)

// console is apptest's, with what tests of several resources do.
type console struct {
	*apptest.Console
	t *testing.T
}

// newConsole is a console with a storage in memory; requests are the operator's.
// Settings are NAME=value, without BLOCKCONSOLE_.
func newConsole(t *testing.T, settings ...string) *console {
	t.Helper()
	return &console{apptest.New(t, settings...), t}
}

var formKey = regexp.MustCompile(`(name="form_key" value=)"[^"]*"`)

// withoutKey is a page without what differs each time it is rendered.
func withoutKey(body string) string { return formKey.ReplaceAllString(body, `$1""`) }
