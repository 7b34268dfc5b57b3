package views

// Servers is the page of the servers that volumes can be attached to.
type Servers struct {
	Rows            []ServerRow
	Registered      bool // registered in this console; false: in the cloud
	TLS             bool // servers authenticate by certificate
	SharedAddresses bool // some have the same address
	More            bool // more exist than are shown
	ShowProjects    bool // projects are shown
}

// ServerRow is one server.
type ServerRow struct {
	ID, Name   string
	Project    Link // empty where there is only one
	Addresses  []string
	Status     string
	Volumes    int    // number of attached volumes …
	Snapshots  int    // … and snapshots
	SharedWith []Link // other servers with the same address
	CreatedAt  int64
	CreatedBy  string
}

// ServerForm is the popup «서버 등록», and with an ID «서버 수정». Conflict is set when
// somebody else changed the server since the form was opened.
type ServerForm struct {
	Form
	ID, Name, Address string
	Conflict          *ServerRow
	Clients           []ServerClient // that are connected now
}

// ServerClient is a client that is connected to a volume or snapshot.
type ServerClient struct {
	Kind              string // volume, snapshot
	Object            Link
	Address, Identity string
}

// maxClients is how many clients the form of a server lists.
const maxClients = 20

func (m ServerForm) titleKey() string {
	if m.ID == "" {
		return "server.new"
	}
	return "server.edit"
}

// ServerNamePattern is the pattern attribute of names of servers.
const ServerNamePattern = `[A-Za-z0-9._\-]{1,64}`

// ServerDelete is the popup «서버 삭제».
type ServerDelete struct {
	Form
	Row ServerRow
}
