// Package typed keeps what a person typed into a form that was not carried out: the
// session had ended, or the form is to be seen in another language. The fields travel
// in the page, and come back in the form's own page.
package typed

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Names of the hidden fields that every form has for this.
const (
	ActionField = "_action" // the path that the form posts to
	PersonField = "_person" // the mark of whom it was made for
)

// maxBytes is how much a page carries.
const maxBytes = 64 << 10

// leftOut are the fields that belong to the session, and passwords.
var leftOut = []string{"_csrf", ActionField, PersonField, "password", "current", "again"}

// Form is a form as a person typed it, without passwords and files.
type Form struct {
	Action string // the path that it posts to
	Fields url.Values
}

// Of is the form in the body of a POST, which has been parsed; nil when there is none
// that a page can carry.
func Of(r *http.Request) *Form {
	f := &Form{Action: r.PostForm.Get(ActionField), Fields: url.Values{}}
	if f.Action == "" {
		f.Action = r.URL.Path
	}
	for name, values := range r.PostForm {
		if !slices.Contains(leftOut, name) {
			f.Fields[name] = values
		}
	}
	if len(f.String()) > maxBytes {
		return nil
	}
	return f
}

// String is the form in one line, for Parse.
func (f *Form) String() string {
	if f == nil {
		return ""
	}
	return f.Action + "?" + f.Fields.Encode()
}

// Parse is the form of a line; nil when it is none.
func Parse(line string) *Form {
	u, err := url.Parse(line)
	if err != nil || len(line) > maxBytes || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return nil
	}
	fields, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil
	}
	return &Form{Action: u.Path, Fields: fields}
}

// Fill returns a page with the fields in its form. A page without that form is
// returned as it is.
func (f *Form) Fill(page []byte) ([]byte, error) {
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return nil, err
	}
	for n := range doc.Descendants() {
		if n.DataAtom == atom.Form && attr(n, "method") == "post" && attr(n, "action") == f.Action {
			f.fillForm(n)
			var filled bytes.Buffer
			err := html.Render(&filled, doc)
			return filled.Bytes(), err
		}
	}
	return page, nil
}

func (f *Form) fillForm(form *html.Node) {
	for n := range form.Descendants() {
		values, typed := f.Fields[attr(n, "name")]
		switch n.DataAtom {
		case atom.Input:
			f.fillInput(n, values, typed)
		case atom.Textarea:
			if typed {
				n.FirstChild, n.LastChild = nil, nil
				n.AppendChild(&html.Node{Type: html.TextNode, Data: values[0]})
			}
		case atom.Select:
			if !typed {
				continue
			}
			for option := range n.Descendants() {
				if option.DataAtom == atom.Option {
					set(option, "selected", "", slices.Contains(values, attr(option, "value")))
				}
			}
		}
	}
}

// fillInput fills what a person typed, and the two hidden fields by which the console
// knows the form again.
func (f *Form) fillInput(n *html.Node, values []string, typed bool) {
	name := attr(n, "name")
	switch attr(n, "type") {
	case "password", "file":
	case "checkbox", "radio":
		set(n, "checked", "", slices.Contains(values, attr(n, "value")))
	case "hidden":
		if typed && (name == "form_key" || name == "version") {
			set(n, "value", values[0], true)
		}
	default:
		if typed {
			set(n, "value", values[0], true)
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// set sets an attribute, or removes it.
func set(n *html.Node, name, value string, present bool) {
	n.Attr = slices.DeleteFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
	if present {
		n.Attr = append(n.Attr, html.Attribute{Key: name, Val: value})
	}
}
