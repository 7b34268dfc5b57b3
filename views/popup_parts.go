package views

import (
	"context"

	"github.com/a-h/templ"
)

// NamePattern is the rule of names for the browser. The dash is escaped because
// browsers read patterns with the v flag.
const NamePattern = `[A-Za-z0-9\-]{3,20}`

// input is one text field of a popup.
type input struct {
	name, label, value, hint, unit string
	required, focus                bool
	numeric                        bool
	password                       bool
	pattern                        string
	complete                       string // autocomplete; empty: off
	describedBy                    string
}

func (i input) kind() string {
	if i.password {
		return "password"
	}
	return "text"
}

// repeats tells whether the field's error says what its hint says; once is enough.
func (i input) repeats(ctx context.Context, f Form) bool {
	return f.wrong(i.name) && say(ctx, f.Errors[i.name]) == i.hint
}

// attrs are the attributes that not every input has.
func (i input) attrs(ctx context.Context, f Form) templ.OrderedAttributes {
	var a templ.OrderedAttributes
	set := func(key string, value any) { a = append(a, templ.KeyValue[string, any]{Key: key, Value: value}) }
	complete := i.complete
	if complete == "" {
		complete = "off"
	}
	set("autocomplete", complete)
	if !i.password {
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
	if i.numeric {
		set("inputmode", "numeric")
	}
	described := i.describedBy
	if i.hint != "" && !i.repeats(ctx, f) {
		described = join(described, "h-"+i.name)
	}
	if f.wrong(i.name) {
		described = join("e-"+i.name, described)
		set("aria-invalid", "true")
	}
	if described != "" {
		set("aria-describedby", described)
	}
	return a
}

func join(a, b string) string {
	switch {
	case a == "":
		return b
	case b == "":
		return a
	}
	return a + " " + b
}

func (f Form) wrong(name string) bool { return f.Errors[name].Key != "" }

// back is where Cancel leads without JavaScript.
func (f Form) back(list string) string {
	if f.ReturnTo != "" {
		return f.ReturnTo
	}
	return list
}

func listPath(kind string) string {
	if kind == "volume" {
		return VolumesPath
	}
	return SnapshotsPath
}

// list is where a new volume comes from: the snapshots when it restores one.
func (m VolumeCreate) list() string {
	if m.Snapshot != nil {
		return SnapshotsPath
	}
	return VolumesPath
}

// sizeHint is the rule of sizes, with the figures that are known.
func sizeHint(ctx context.Context, least, most int) string {
	switch {
	case most > 0:
		return tr(ctx, "size.hint_range", max(least, 1), most)
	case least > 1:
		return tr(ctx, "size.hint_min", least)
	}
	return tr(ctx, "size.hint")
}

// attached: a cloud may say that a volume is in use before it says by which
// server.
func (v *VolumeBrief) attached() bool { return len(v.Servers) > 0 || v.Status == "IN-USE" }
