package models

import "fmt"

// Identity is the backend that a database mirrors. With another backend every row
// would look deleted elsewhere.
type Identity struct {
	Backend string // local or openstack
	Cloud   string // of openstack: its address, such as keystone.example.com:5000
	Region  string // of openstack; empty: the only one
}

// FailureOtherProject is the failure of a mirror whose credentials belong to another
// project than the database's rows.
const FailureOtherProject = "failure.other_project"

// IdentityError is the error of a database that mirrors another backend or project.
// Its text is for the administrator's terminal; Check names the settings to check.
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
