package views

// Login is the sign-in page.
type Login struct {
	Form
	Username string
	Next     string
	Typed    string // a form that was sent and not carried out, in one line; empty: none
	Person   string // the mark of whom it was made for
}

// Account is the user's own page: password and sessions.
type Account struct {
	Form
	Sessions     []SessionRow
	SessionLimit int // number of sessions; one more sign-in ends the oldest
}

// SessionRow is one signed-in browser.
type SessionRow struct {
	ID               string
	Address, Browser string
	CreatedAt        int64
	SeenAt           int64
	Current          bool
}
