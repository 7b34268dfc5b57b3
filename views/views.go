// Package views renders the pages: view models in, HTML out. It knows neither the
// database nor HTTP. Each area has its templates (list.templ), its view models
// (list_viewmodel.go) and what the templates compute (list_helpers.go). Texts come
// from the catalog in views/i18n, whose language travels in the context.
package views

// Message is a text of the catalog with its arguments. It is comparable, as rows
// that hold one are cache keys. The zero Message is no text.
type Message struct {
	Key  string
	Args [4]string
}

// Link refers to an object. Where Name is empty, which clouds allow, the id is shown.
type Link struct{ ID, Name string }

// Denial is why an action is not possible now, with links to what blocks it.
type Denial struct {
	Reason   Message
	Volumes  []Link
	Snaps    []Link
	Servers  []string
	Guidance Message // what to do about it; zero: nothing is known
}

// User is the signed-in user; zero: nobody is.
type User struct {
	Name          string
	Role          string // viewer, operator, administrator
	Operator      bool   // may change things
	Administrator bool
}
