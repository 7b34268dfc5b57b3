package views

// AttachedServer is a server that a volume or snapshot is attached to.
type AttachedServer struct {
	Server  Link
	Use     string // never, idle, connected; empty: unknown
	UsedAt  int64  // when a client was connected last, Unix microseconds; 0: never
	Leaving bool   // a detachment waits for its clients
	Clients []Client
}

// Client is an NBD connection to something attached.
type Client struct {
	ID, Address, Identity string
	Since, ActiveAt       int64
	Read, Written         int64 // bytes
}

// Export is the address of something attached and the commands that connect to it.
type Export struct {
	Host, Port, Name string
	URI              string
	TLS              bool
	ReadOnly         bool // a snapshot: nobody can write to it
	ThisMachine      bool // the address is a loopback one
	Commands         []Command
}

// Command is to be run on a server; Tool is its key in the catalog.
type Command struct{ Tool, Text string }
