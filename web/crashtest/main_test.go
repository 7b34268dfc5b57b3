// Package crashtest kills the program at random moments and checks that nothing
// acknowledged was lost, done twice or half done. It also attaches volumes of the
// program to real NBD clients.
package crashtest

import (
	"testing"

	"blockconsole/web/app/apptest"
)

func TestMain(m *testing.M) { apptest.TestMain(m, 0) }

// eventually asks again and again until done says yes.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	apptest.Eventually(t, apptest.Patience, what, done)
}
