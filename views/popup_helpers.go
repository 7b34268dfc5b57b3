package views

import (
	"context"
	"slices"
	"strings"

	"github.com/a-h/templ"

	"blockconsole/views/i18n"
)

// NamePattern is the pattern attribute of names. The dash is escaped because
// browsers compile patterns with the v flag.
const NamePattern = `[A-Za-z0-9\-]{3,20}`

// input is one text field of a popup.
type input struct {
	name, label, value, hint, unit string
	required, focus                bool
	numeric                        bool
	password                       bool
	date                           bool
	min                            string // of a date
	pattern                        string
	complete                       string // autocomplete; empty: off
	describedBy                    string

	names, except string // a name of the list at this path; except: the id of the object that has it
	taken         bool   // another object has the name
}

func (i input) inputType() string {
	switch {
	case i.password:
		return "password"
	case i.date:
		return "date"
	}
	return "text"
}

// hintIsError reports whether the error says what the hint does, which is then left out.
func (i input) hintIsError(ctx context.Context, f Form) bool {
	return f.hasError(i.name) && strings.Contains(messageText(ctx, f.Errors[i.name]), i.hint)
}

// attrs are the optional attributes.
func (i input) attrs(ctx context.Context, f Form) templ.OrderedAttributes {
	var a templ.OrderedAttributes
	set := func(key string, value any) { a = append(a, templ.KeyValue[string, any]{Key: key, Value: value}) }
	complete := i.complete
	if complete == "" {
		complete = "off"
	}
	set("autocomplete", complete)
	if !i.password && !i.date {
		set("spellcheck", "false")
		set("autocapitalize", "off")
	}
	if i.required {
		set("required", true)
	}
	if i.focus {
		set("autofocus", true)
	}
	if i.pattern != "" {
		set("pattern", i.pattern)
		set("title", i.hint)
	}
	if i.min != "" {
		set("min", i.min)
	}
	if i.numeric {
		set("inputmode", "numeric")
	}
	described := i.describedBy
	if i.names != "" {
		set("hx-get", withParam(i.names+"/names", "except", i.except))
		set("data-ask", true)
		set("hx-trigger", "ask")
		set("hx-target", "#name-hint")
		set("hx-swap", "innerHTML")
		set("hx-sync", "this:replace")
		described = joinIDs(described, "name-hint")
	}
	if i.hint != "" && !i.hintIsError(ctx, f) {
		described = joinIDs(described, "h-"+i.name)
	}
	if f.hasError(i.name) {
		described = joinIDs("e-"+i.name, described)
		set("aria-invalid", "true")
	}
	if described != "" {
		set("aria-describedby", described)
	}
	return a
}

// popupTarget are the attributes of what opens a popup. All of them share a queue, in
// which the next request aborts the one before it.
func popupTarget() templ.OrderedAttributes {
	return templ.OrderedAttributes{{Key: "hx-target", Value: "#popup-body"}, {Key: "hx-swap", Value: "innerHTML"}, {Key: "hx-sync", Value: "#popup-body:replace"}}
}

// opensPopup are the attributes of a link or button that opens the popup at url.
func opensPopup(url string) templ.OrderedAttributes {
	return append(templ.OrderedAttributes{{Key: "hx-get", Value: url}}, popupTarget()...)
}

func joinIDs(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + " " + b
}

func (f Form) hasError(name string) bool { return f.Errors[name].Key != "" }

// cancelURL is the target of Cancel without JavaScript.
func (f Form) cancelURL(list string) string {
	if f.ReturnTo != "" {
		return f.ReturnTo
	}
	return list
}

// listURL is the list that the popup was opened from.
func (m VolumeCreate) listURL() string {
	if m.Snapshot != nil {
		return SnapshotsPath
	}
	return VolumesPath
}

// sizeHint is the rule for sizes, with the limits that are known.
func sizeHint(ctx context.Context, least, most int) string {
	switch {
	case most > 0:
		return tr(ctx, "size.hint_range", max(least, 1), most)
	case least > 1:
		return tr(ctx, "size.hint_min", least)
	}
	return tr(ctx, "size.hint")
}

// isAttached includes IN-USE, which a cloud may report before the server.
func (v *VolumeBrief) isAttached() bool { return len(v.Servers) > 0 || v.Status == "IN-USE" }

// allClients are the clients of all servers.
func (d Detach) allClients() []Client {
	var all []Client
	for _, s := range d.Attached {
		all = append(all, s.Clients...)
	}
	return all
}

// size is the image's size, and its format where that is not the disk itself.
func (i ImageBrief) size(ctx context.Context) string {
	size := i18n.Bytes(i.SizeBytes)
	if i.Format == "" {
		return size
	}
	return tr(ctx, "volume.source_format", size, displayText(i.Format))
}

func (m VolumeCreate) hasContainer() bool {
	return slices.ContainsFunc(m.Images, func(i ImageBrief) bool { return i.Container && i.Unusable.Key == "" })
}

func (m VolumeCreate) hasISO() bool {
	return slices.ContainsFunc(m.Images, func(i ImageBrief) bool { return i.Format != "" && !i.Container })
}
