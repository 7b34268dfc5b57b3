// Package cloudtest runs the program against a real OpenStack cloud: the one that
// OS_CLOUD, or the other OS_* variables, name as for any tool of OpenStack. Without
// them its tests skip.
//
// Everything that a test makes has a name that begins with its own prefix and carries
// a mark in its metadata, and is deleted with the test. What an earlier run has left is
// deleted first, so one run at a time may use a project.
//
// Some tests need more, and skip by name without it: a cloud of an administrator
// (named as OS_CLOUD with "-admin" behind it), one of a project with a small quota
// ("-tiny"), a volume type "scripted" whose driver fails when a name says so, and two
// commands that stop and start a service of the cloud.
package cloudtest

import (
	"blockconsole/web/app/apptest"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"testing"
	"time"
)

// testsAtOnce is more than there are cores: the tests wait for the cloud most of the
// time, not for this machine.
const testsAtOnce = 4

func TestMain(m *testing.M) { apptest.TestMain(m, testsAtOnce) }

func cloudIsNamed() bool { return os.Getenv("OS_CLOUD") != "" || os.Getenv("OS_AUTH_URL") != "" }

// ours is a name that a test of this package has given.
var ours = regexp.MustCompile(`^bct[a-z]{3}-`)

// newPrefix begins the names of one test.
func newPrefix() string { return fmt.Sprintf("bct%c%c%c-", letter(), letter(), letter()) }

func letter() rune { return 'a' + rand.N('z'-'a'+1) }

// named is a name of this test, which fits the rule of names: at most 13 bytes may
// follow.
func (c *cloud) named(rest string) string {
	if len(rest) > 13 {
		c.t.Fatalf("the name would be longer than 20 bytes: %s", rest)
	}
	return c.prefix + rest
}

// patience is how long a test waits for the cloud, and for the console to look at all
// of it: every two minutes.
const patience = 4 * time.Minute

// eventually asks again and again until done says yes.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	apptest.Eventually(t, patience, what, done)
}
