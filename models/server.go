package models

import "blockconsole/models/backend"

// Server is a machine that volumes can be attached to. CreatedAt is in Unix
// microseconds. Version is a number that grows with each edit.
type Server struct {
	ID        string `gorm:"primaryKey"`
	ProjectID string
	Name      string
	Status    string
	Address   string // of a registered one, see Addresses
	Origin    Origin // ByHand: registered in the console; Elsewhere: listed by the backend
	CreatedBy string
	CreatedAt int64 `gorm:"autoCreateTime:false"`
	Version   int64
}

// Link is the server's link.
func (s *Server) Link() Link { return Link{ID: s.ID, Name: s.Name} }

// Image is content that a new volume can start with.
type Image struct {
	ID        string `gorm:"primaryKey"`
	Name      string
	SizeBytes int64
	Format    string           // see [backend.Image]
	Unusable  backend.Unusable // empty: a volume can be made of it
}

// Container reports whether a volume of the image's bytes is not the disk that the image
// holds.
func (i Image) Container() bool { return i.Format != "" && i.Format != backend.FormatISO }

// Denial is why no volume can be made of the image; raw says that its bytes are wanted as
// they are. nil: one can.
func (i Image) Denial(raw bool) *Text {
	var why Text
	switch {
	case i.Unusable == backend.BadFormat:
		why = NewText("image.unusable.format", i.Format)
	case i.Unusable != "":
		why = NewText("image.unusable." + string(i.Unusable))
	case i.Container() && !raw:
		why = NewText("image.container", i.Format)
	default:
		return nil
	}
	return &why
}

const gib = 1 << 30

// MinGiB is the size of the smallest volume that holds the image.
func (i Image) MinGiB() int { return max(1, int((i.SizeBytes+gib-1)/gib)) }

// AuditSubjectServer is the subject type of audit entries about servers.
const AuditSubjectServer = "server"

// AuditEntry makes an entry about the server.
func (s *Server) AuditEntry(action, detail string) AuditEntry {
	return AuditEntry{Action: action, SubjectType: AuditSubjectServer, SubjectID: s.ID, SubjectName: s.Name, Detail: detail, Outcome: AuditDone}
}
