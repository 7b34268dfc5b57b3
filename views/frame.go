// Package views renders the pages: plain view models in, HTML out. It knows
// neither the database nor HTTP. Every text comes from the catalog in views/i18n,
// whose language travels in the context.
package views

import "context"

// Message is a text of the catalog with its arguments. It is comparable, so that
// a row that holds one can be a cache key. The zero Message means "nothing to
// say".
type Message struct {
	Key  string
	Args [4]string
}

// Link names an object and where its page is. Name may be empty (clouds allow it);
// then the id is shown.
type Link struct{ ID, Name string }

// Denial says why something cannot be done now, and names what stands in the way
// with links.
type Denial struct {
	Reason   Message
	Volumes  []Link
	Snaps    []Link
	Servers  []string
	Guidance Message // what to do next; may be zero
}

// User is who is signed in. The zero User is nobody.
type User struct {
	Name          string
	Role          string // viewer, operator, administrator
	Operator      bool   // may change things
	Administrator bool
}

// Frame is what surrounds every page and what every form needs: it travels in the
// context so that fragments and full pages are written alike.
type Frame struct {
	User        User
	Active      string  // the current menu entry: volumes, snapshots, activity, users, servers, audit, help, account
	Title       string  // of the document, already in the user's language
	URL         string  // path and query of this page, local, for forms that come back and for the language links
	CSRF        string  // the session's token, for clients that send neither Sec-Fetch-Site nor Origin
	Theme       string  // light, dark, or empty: as the system has it
	Compact     bool    // rows of 32 px
	Project     string  // name of the project shown in the header
	AllProjects bool    // the objects of every project are shown
	Running     int     // operations under way, in the header
	Attach      bool    // the backend can attach volumes to servers
	Revert      bool    // the backend can revert a volume to its latest snapshot
	Fragment    bool    // only the body is sent (htmx), without the layout
	TimeZone    string  // IANA name in which times are shown
	Banner      Message // above every page, such as: the storage does not answer
	Alerts      []Alert // messages for this page, after an action without JavaScript
	Now         int64   // Unix microseconds, for ages; 0: the moment is written instead
}

type frameKey struct{}

// WithFrame returns a context that carries f.
func WithFrame(ctx context.Context, f *Frame) context.Context {
	return context.WithValue(ctx, frameKey{}, f)
}

// FrameOf returns the frame of the context, or an empty one.
func FrameOf(ctx context.Context) *Frame {
	if f, ok := ctx.Value(frameKey{}).(*Frame); ok {
		return f
	}
	return &Frame{}
}
