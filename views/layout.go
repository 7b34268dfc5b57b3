package views

import (
	"context"
	"encoding/json"

	"github.com/a-h/templ"

	"blockconsole/views/i18n"
)

// PageContext is the data of the layout and of every form. It travels in the context, so
// that whole pages and fragments are rendered by the same code.
type PageContext struct {
	User        User
	Active      string // the current menu entry: volumes, snapshots, activity, users, servers, audit, help, account
	Title       string // of the document, in the user's language
	URL         string // path and query of this page, for return_to and the language links
	Person      string // the mark of the signed-in person, for forms that outlive the session
	CSRF        string // the session's token, for clients that send neither Sec-Fetch-Site nor Origin
	Theme       string // light, dark; empty: the system's
	Compact     bool   // rows of 32 px
	Project     string // name of the project shown in the header
	AllProjects bool   // the objects of every project are shown
	Running     int    // number of running operations
	Attach      bool   // the backend can attach volumes to servers
	// AttachSnapshots says that the backend can attach snapshots, too.
	AttachSnapshots bool
	Revert          bool      // the backend can revert a volume to its latest snapshot
	Checksums       bool      // snapshots have checksums
	Fragment        bool      // only the body is sent (htmx), without the layout
	TimeZone        string    // IANA name in which times are shown
	Banners         []Message // above the page, such as: the disk is full
	Alerts          []Alert   // of this page, after an action without JavaScript
	Now             int64     // Unix microseconds, for ages; 0: times are shown instead of ages
}

type frameKey struct{}

// WithPageContext returns a context that carries f, and whose texts have their times in
// its zone.
func WithPageContext(ctx context.Context, f *PageContext) context.Context {
	ctx = context.WithValue(ctx, frameKey{}, f)
	return i18n.WithZone(ctx, location(ctx))
}

// PageContextOf returns the frame of the context, or an empty one.
func PageContextOf(ctx context.Context) *PageContext {
	if f, ok := ctx.Value(frameKey{}).(*PageContext); ok {
		return f
	}
	return &PageContext{}
}

// Alert is a message after an action, shown in the live region. A sticky one is an
// error: it stays until it is closed.
type Alert struct {
	Message   Message
	Detail    Message // why, in the storage's words or ours
	Sticky    bool
	RequestID string
	Link      string // to the operation or object
	LinkText  Message
	Show      Message // button of a message that a script shows; empty: none
}

type crumb struct{ path, text string }

func densityName(f *PageContext) string {
	if f.Compact {
		return "compact"
	}
	return "normal"
}

func themeName(f *PageContext) string {
	if f.Theme == "" {
		return "system"
	}
	return f.Theme
}

func titleSeparator(f *PageContext) string {
	if f.Title == "" {
		return ""
	}
	return " · "
}

func bodyClass(f *PageContext) string {
	if f.User.Name == "" {
		return "bare"
	}
	return "app"
}

// LanguageHeader is the request header with the language of the page that asks.
const LanguageHeader = "X-Page-Language"

// requestHeaders is the value of hx-headers: the session's token and the language of
// the page.
func requestHeaders(ctx context.Context, f *PageContext) string {
	b, err := json.Marshal(map[string]string{"X-CSRF-Token": f.CSRF, LanguageHeader: i18n.Lang(ctx)})
	if err != nil {
		return "{}"
	}
	return string(b)
}

// personVals is the value of hx-vals that sends the mark of the signed-in person.
func personVals(f *PageContext) string {
	b, err := json.Marshal(map[string]string{"person": f.Person})
	if err != nil {
		return "{}"
	}
	return string(b)
}

// searchAction is the list that Enter in the header's search leads to.
func searchAction(f *PageContext) string {
	if f.Active == "volumes" {
		return VolumesPath
	}
	return SnapshotsPath
}

// ariaCurrent is the aria-current attribute, or none.
func ariaCurrent(is bool, value string) templ.Attributes {
	if !is {
		return nil
	}
	return templ.Attributes{"aria-current": value}
}

// otherLanguage is the target of the language link.
func otherLanguage(ctx context.Context) string {
	if i18n.Lang(ctx) == i18n.Korean {
		return i18n.English
	}
	return i18n.Korean
}
