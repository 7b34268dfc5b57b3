package views

import "blockconsole/views/i18n"

// Servers is the page of the servers that volumes can be attached to. Own: they
// are registered here; otherwise the storage knows them.
type Servers struct {
	Rows   []ServerRow
	Own    bool
	TLS    bool // servers prove by certificate who they are
	Shared bool // some have the same address
	More   bool // there are more than are shown
	Owners bool // of several projects
}

// ServerRow is one server.
type ServerRow struct {
	ID, Name   string
	Project    Link // empty where there is only one
	Addresses  []string
	Status     string
	Volumes    int    // that are attached to it
	SharedWith []Link // other servers with the same address
	CreatedAt  int64
	CreatedBy  string
}

// ServerForm is the popup «서버 등록», and with an ID «서버 수정». Theirs is set when
// somebody else changed the server meanwhile.
type ServerForm struct {
	Form
	ID, Name, Address string
	Theirs            *ServerRow
}

// ServerDelete is the popup «서버 삭제».
type ServerDelete struct {
	Form
	Row ServerRow
}

// AttachedServer is a server that a volume is attached to. Use is never, idle or
// connected, or empty where that is not known.
type AttachedServer struct {
	Server  Link
	Use     string
	UsedAt  int64 // when a client was there last; 0: never
	Clients []Client
}

// Client is a connection to an attached volume.
type Client struct {
	ID, Address, Identity string
	Since, ActiveAt       int64
	Read, Written         int64 // bytes
}

// Export is where an attached volume is served, and how servers use it.
type Export struct {
	Host, Port, Name string
	URI              string
	TLS              bool
	ThisMachine      bool // the address is of no use to other machines
	Commands         []Command
}

// Command is what to type or paste on a server.
type Command struct{ Tool, Text string }

func (m ServerForm) title() string {
	if m.ID == "" {
		return "server.new"
	}
	return "server.edit"
}

// ServerNamePattern is the rule of the names of servers for the browser.
const ServerNamePattern = `[A-Za-z0-9._\-]{1,64}`

func linkNames(all []Link) string {
	var names []string
	for _, l := range all {
		names = append(names, l.label())
	}
	return joined(names)
}

// clients are all clients of a volume's servers.
func (d Detach) clients() []Client {
	var all []Client
	for _, s := range d.Attached {
		all = append(all, s.Clients...)
	}
	return all
}

// useTone is the colour and shape of the use of an attachment.
func useTone(use string) string {
	switch use {
	case "connected":
		return "use"
	case "never", "idle":
		return "wait"
	}
	return "unknown"
}

func useKey(use string) string {
	if use == "" {
		return "use.unknown"
	}
	return "use." + use
}

// longHold is from when on the hold of a snapshot is worth a word, in microseconds.
const longHold = 50_000

// milliseconds writes a span of microseconds.
func milliseconds(us int64) string {
	if us < 10_000 {
		return itoa64(us/1000) + "." + itoa64(us%1000/100) + " ms"
	}
	return i18n.Number(us/1000) + " ms"
}
