package views

import (
	"context"
	"slices"
)

// Audit is the administrator's record of who did what.
type Audit struct {
	Rows     []AuditRow
	Path     string // of the page; what follows is its state, all of it from the URL
	Query    string // q
	Action   string
	Actions  []string // the choices of that filter
	Outcome  string
	Outcomes []string
	From, To string // days, YYYY-MM-DD
	Filtered bool
	Notice   Message           // such as: a day is none
	ChipURL  map[string]string // per filter: the URL without it
	CSVURL   string
	JSONURL  string
	Next     string
	Previous string
}

// actionChoices and outcomeChoices have the chosen one also where no entry has it.
func (m Audit) actionChoices() []string { return withChosen(m.Actions, m.Action) }

func (m Audit) outcomeChoices() []string { return withChosen(m.Outcomes, m.Outcome) }

func withChosen(choices []string, chosen string) []string {
	if chosen == "" || slices.Contains(choices, chosen) {
		return choices
	}
	return append(slices.Clone(choices), chosen)
}

// activeFilter is a filter in use: its query parameter, its name and what it asks for.
type activeFilter struct{ param, name, value string }

func (m Audit) filters(ctx context.Context) []activeFilter {
	all := []activeFilter{
		{"q", tr(ctx, "field.search"), m.Query}, {"action", tr(ctx, "column.action"), m.Action}, {"outcome", tr(ctx, "column.outcome"), m.Outcome},
		{"from", tr(ctx, "audit.from"), m.From}, {"to", tr(ctx, "audit.to"), m.To},
	}
	all[1].value, all[2].value = auditAction(ctx, m.Action), auditOutcome(ctx, m.Outcome)
	return slices.DeleteFunc(all, func(f activeFilter) bool { return f.value == "" })
}

// AuditRow is one line of the audit.
type AuditRow struct {
	At        int64
	User      string
	Address   string
	Action    string
	Subject   Link
	Kind      string
	Details   []AuditDetail
	Outcome   string
	RequestID string
	Count     int64 // how many times it happened
	LastAt    int64 // the last time; 0: once
}

// AuditDetail is one detail of an audit line. Names of objects are not recorded, so
// links show the id.
type AuditDetail struct {
	Name  Message // zero: Value alone
	Value Message // of the catalog, or Text
	Text  string
	Kind  string // of the object with the id Text: volume, snapshot
}

// Users is the administrator's list of users, with the form to add one.
type Users struct {
	Form
	Rows []UserRow
	Name string
	Role string
}

// UserRow is one user.
type UserRow struct {
	ID        string
	Name      string
	Role      string
	Disabled  bool
	CreatedAt int64
	SeenAt    int64
	Self      bool
}

// UserDetail is the administrator's page of one user.
type UserDetail struct {
	Form
	Row         UserRow
	NewPassword string // shown once
}
