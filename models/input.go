package models

import (
	"strings"
	"time"
)

// FormKeyUsed is the text of a form key that was sent before with another form.
const FormKeyUsed = "error.form_key"

// SnapshotInput is the form «Block Snapshot 생성». The same FormKey sent again creates
// nothing more.
type SnapshotInput struct {
	VolumeID, Name, Description string
	Acknowledge                 bool   // the user accepted that the data may be inconsistent
	LockUntil                   string // the last day of its lock, YYYY-MM-DD as typed; empty: none
	FormKey                     string
	Zone                        *time.Location `json:"-"` // of LockUntil
}

// Lock returns the lock that the new snapshot begins with at the time now, or what is
// wrong with its day.
func (in SnapshotInput) Lock(actor Actor, now time.Time) (Lock, *Text) {
	if TrimSpace(in.LockUntil) == "" {
		return Lock{}, nil
	}
	end, invalid := LockEnd(in.LockUntil, localTime(now, in.Zone))
	return Lock{LockedUntil: end, LockedBy: actor.Name, LockedAt: Micros(now)}, invalid
}

// EditInput is a form «… 수정». Version is the row's version number in the form, to
// find out that somebody else changed it since; 0: not checked.
type EditInput struct {
	ID, Name, Description string
	Version               int64
	FormKey               string
}

// Validate checks the fields name and description. Errors: CodeInvalid.
func (in EditInput) Validate(oldName string) error {
	fields := FieldErrors{}
	if in.Name != withoutLineBreaks(oldName) { // an unchanged name need not fit: it may come from a cloud
		fields.Add("name", ValidateName(in.Name))
	}
	fields.Add("description", ValidateDescription(in.Description))
	return fields.Err()
}

// withoutLineBreaks returns name as a browser sends it back from a single-line field.
func withoutLineBreaks(name string) string {
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// RestoreName returns in with oldName when the user did not change it, so that its
// line breaks are kept.
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

// Validate checks the fields reason and reset_to. Errors: CodeInvalid.
func (in RepairInput) Validate() error {
	fields := FieldErrors{}
	if TrimSpace(in.Reason) == "" {
		fields["reason"] = NewText("reason.required")
	}
	fields.Add("reason", ValidateDescription(in.Reason))
	if in.ResetTo != ErrorStatus && in.ResetTo != Available {
		fields["reset_to"] = NewText("repair.reset_to_invalid")
	}
	return fields.Err()
}

// CheckInput is the administrator's form «검증». Renew accepts the bytes as they are.
type CheckInput struct {
	ID      string
	Renew   bool
	FormKey string
}

// ServerInput is the form of a registered server. Version is the row's version number
// in the form; 0: not checked.
type ServerInput struct {
	ID, Name, Address string
	Version           int64
	FormKey           string
}

// Validate checks the fields name and address, and returns the addresses as they are
// stored. Errors: CodeInvalid.
func (in ServerInput) Validate() (address string, err error) {
	fields := FieldErrors{}
	fields.Add("name", ValidateServerName(in.Name))
	address, invalid := ParseAddresses(in.Address)
	fields.Add("address", invalid)
	return address, fields.Err()
}

// VolumeInput is the form «Volume 생성»: empty, from a snapshot, or from an image.
type VolumeInput struct {
	Name, Description string
	Size              string // GiB as typed; empty: the snapshot's size
	SnapshotID        string
	ImageID           string
	Raw               bool   // the image's bytes as they are, whatever Image.Format is
	ServerID          string // to attach the new volume to; may be empty
	Type, Zone        string
	FormKey           string
}
