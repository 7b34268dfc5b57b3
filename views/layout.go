package views

import (
	"encoding/json"

	"github.com/a-h/templ"
)

type crumb struct{ path, text string }

func density(f *Frame) string {
	if f.Compact {
		return "compact"
	}
	return "normal"
}

func themeName(f *Frame) string {
	if f.Theme == "" {
		return "system"
	}
	return f.Theme
}

func titleGlue(f *Frame) string {
	if f.Title == "" {
		return ""
	}
	return " · "
}

func bodyClass(f *Frame) string {
	if f.User.Name == "" {
		return "bare"
	}
	return "app"
}

// csrfHeaders is the htmx attribute that sends the session's token with every
// request.
func csrfHeaders(f *Frame) string {
	b, err := json.Marshal(map[string]string{"X-CSRF-Token": f.CSRF})
	if err != nil {
		return "{}"
	}
	return string(b)
}

// searchAction is where Enter in the header's search leads: the list that is open,
// else the snapshots.
func searchAction(f *Frame) string {
	if f.Active == "volumes" {
		return VolumesPath
	}
	return SnapshotsPath
}

// current is the aria-current attribute where it applies.
func current(is bool, value string) templ.Attributes {
	if !is {
		return nil
	}
	return templ.Attributes{"aria-current": value}
}
