// Package views renders the pages: view models in, HTML out. It knows neither the
// database nor HTTP. Each area has its templates (list.templ), its view models
// (list_viewmodel.go) and what the templates compute (list_helpers.go). Texts come
// from the catalog in views/i18n, whose language travels in the context.
package views

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Message is a text of the catalog with its arguments. It is comparable, as rows
// that hold one are cache keys. The zero Message is no text.
type Message struct {
	Key  string
	args string // each as its length in bytes, a colon and itself: comparable, however many
}

// NewMessage is the text of key with its arguments.
func NewMessage(key string, args ...string) Message {
	var b strings.Builder
	for _, arg := range args {
		b.WriteString(strconv.Itoa(len(arg)) + ":" + arg)
	}
	return Message{key, b.String()}
}

// Args are the arguments.
func (m Message) Args() []string {
	var all []string
	for rest := m.args; rest != ""; {
		length, text, _ := strings.Cut(rest, ":")
		n, _ := strconv.Atoi(length)
		all, rest = append(all, text[:n]), text[n:]
	}
	return all
}

// messageJSON is a Message in the notice cookie.
type messageJSON struct {
	Key  string
	Args []string
}

// MarshalJSON writes key and arguments. Errors: none.
func (m Message) MarshalJSON() ([]byte, error) { return json.Marshal(messageJSON{m.Key, m.Args()}) }

// UnmarshalJSON reads them back. Errors: those of encoding/json.
func (m *Message) UnmarshalJSON(b []byte) error {
	var read messageJSON
	err := json.Unmarshal(b, &read)
	*m = NewMessage(read.Key, read.Args...)
	return err
}

// Link refers to an object. Where Name is empty, which clouds allow, the id is shown.
type Link struct{ ID, Name string }

// Denial is why an action is not possible now, with links to what blocks it.
type Denial struct {
	Reason    Message
	Volumes   []Link
	Snapshots []Link
	Servers   []string
	Guidance  Message // what to do about it; zero: nothing is known
}

// User is the signed-in user; zero: nobody is.
type User struct {
	Name          string
	Role          string // viewer, operator, administrator
	Operator      bool   // may change things
	Administrator bool
}
