package models

import (
	"fmt"
)

// Identity says what a database is a mirror of. The rows of another backend would
// look as if they had been deleted there.
type Identity struct {
	Backend string // local or openstack
	Cloud   string // of openstack: where it is, such as keystone.example.com:5000
	Region  string // of openstack; empty: the only one
}

// FailureOtherProject is the failure of a mirror whose backend leads to another
// project than the database's rows come from.
const FailureOtherProject = "failure.other_project"

// IdentityError says that a database belongs to another backend. Its Error is for
// the administrator's terminal: what is wrong, and what to do.
type IdentityError struct{ Stored, Configured, Check string }

func (e *IdentityError) Error() string {
	return fmt.Sprintf("this database mirrors %s, but the settings lead to %s: check %s, or give this console a database of its own with BLOCKCONSOLE_DATABASE",
		e.Stored, e.Configured, e.Check)
}

func (i Identity) String() string {
	if i.Backend != "openstack" {
		return "the volumes of BLOCKCONSOLE_BACKEND=" + i.Backend
	}
	text := "the OpenStack cloud"
	if i.Cloud != "" {
		text += " at " + i.Cloud
	}
	if i.Region != "" {
		text += " (region " + i.Region + ")"
	}
	return text
}
