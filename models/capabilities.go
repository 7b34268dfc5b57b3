package models

// Capabilities is what the backend can do and hold at present, told by the worker, so
// that a page never asks the backend.
type Capabilities struct {
	Abilities
	Backend    string // local, openstack
	CrashSafe  bool   // a snapshot of an attached volume is one instant
	Images     bool
	Shared     bool
	MaxSizeGiB int   // 0: not known
	FreeBytes  int64 // -1: not known
	Types      []string
	Zones      []string
	Quotas     []Quota   // of Project
	Project    Project   // that new objects belong to; empty: the backend knows none
	Projects   []Project // whose objects are shown, where that is more than Project
}

// Quota is a limit of the console's own project. What is in the backend's words:
// volumes, snapshots, gigabytes, or one of those for a type, such as
// gigabytes_ssd. Used counts what is reserved, too.
type Quota struct {
	What        string
	Used, Limit int64 // Limit -1: none
}
