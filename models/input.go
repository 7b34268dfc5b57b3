package models

import (
	"strings"
)

// SnapshotInput is the form «Block Snapshot 생성».
type SnapshotInput struct {
	VolumeID, Name, Description string
	Acknowledge                 bool
	FormKey                     string
}

// EditInput is a form «… 수정». Version 0 does not ask whether somebody else was
// faster.
type EditInput struct {
	ID, Name, Description string
	Version               int64
	FormKey               string
}

func (in EditInput) Validate(oldName string) error {
	fields := FieldErrors{}
	if in.Name != withoutLineBreaks(oldName) { // a name that came from a cloud may stay as it is
		fields.Add("name", ValidateName(in.Name))
	}
	fields.Add("description", ValidateDescription(in.Description))
	return fields.Err()
}

// withoutLineBreaks is a name as a browser sends it back: its fields have one line.
func withoutLineBreaks(name string) string {
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// RestoreName is the name to save: the old one where it was not changed.
func (in EditInput) RestoreName(oldName string) EditInput {
	if in.Name == withoutLineBreaks(oldName) {
		in.Name = oldName
	}
	return in
}

// RepairInput is the administrator's form «복구».
type RepairInput struct {
	ID, Reason string
	ResetTo    Status // ErrorStatus or Available
	FormKey    string
}

func (in RepairInput) Validate() error {
	fields := FieldErrors{}
	if strings.TrimSpace(in.Reason) == "" {
		fields["reason"] = NewText("reason.required")
	}
	fields.Add("reason", ValidateDescription(in.Reason))
	if in.ResetTo != ErrorStatus && in.ResetTo != Available {
		fields["reset_to"] = NewText("repair.reset_to_invalid")
	}
	return fields.Err()
}

// ServerInput is the form of a server that is registered here. Version 0 does not
// ask whether somebody else was faster.
type ServerInput struct {
	ID, Name, Address string
	Version           int64
	FormKey           string
}

// Validate returns the addresses as they are stored. Invalid fields: name, address.
func (in ServerInput) Validate() (address string, err error) {
	fields := FieldErrors{}
	fields.Add("name", ValidateServerName(in.Name))
	address, wrong := ParseAddresses(in.Address)
	fields.Add("address", wrong)
	return address, fields.Err()
}

// VolumeInput is the form «Volume 생성»: empty, from a snapshot, or from an image.
type VolumeInput struct {
	Name, Description string
	Size              string // GiB as typed; empty with a snapshot: the snapshot's
	SnapshotID        string
	ImageID           string
	ServerID          string // to attach to when it is made
	Type, Zone        string
	FormKey           string
}
