package views

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"blockconsole/views/i18n"
)

// Where the pages are. The contract fixes these paths.
const (
	storagePath   = "/storage/block-storage"
	VolumesPath   = storagePath + "/volumes"
	SnapshotsPath = storagePath + "/snapshots"
	activityPath  = "/activity"
	ServersPath   = "/admin/servers"
	usersPath     = "/admin/users"
	auditPath     = "/admin/audit"
	helpPath      = "/help"
	accountPath   = "/account"
)

// tr is the text of key in the language of ctx.
func tr(ctx context.Context, key string, args ...any) string { return i18n.T(ctx, key, args...) }

// say is the text of a message; the zero Message says nothing.
func say(ctx context.Context, m Message) string {
	if m.Key == "" {
		return ""
	}
	return i18n.T(ctx, m.Key, inSentence(m.Args[0]), inSentence(m.Args[1]), inSentence(m.Args[2]), inSentence(m.Args[3]))
}

func itoa(n int) string     { return strconv.Itoa(n) }
func itoa64(n int64) string { return strconv.FormatInt(n, 10) }

// label is what an object is called on the screen: its name, or its id where it
// has none that can be seen (clouds allow that).
func label(id, name string) string {
	if strings.TrimSpace(strings.Map(dropUnseen, name)) == "" {
		return visible(id)
	}
	return visible(name)
}

// Label is what an object is called in the title of its page.
func Label(id, name string) string { return label(id, name) }

func (l Link) label() string { return label(l.ID, l.Name) }

func volumeURL(id string) string    { return VolumesPath + "/" + url.PathEscape(id) }
func snapshotURL(id string) string  { return SnapshotsPath + "/" + url.PathEscape(id) }
func serverURL(id string) string    { return ServersPath + "/" + url.PathEscape(id) }
func operationURL(id string) string { return activityPath + "/" + url.PathEscape(id) }

// objectURL is the page of an object by its kind, empty for kinds without pages.
func objectURL(kind, id string) string {
	switch {
	case id == "":
		return ""
	case kind == "volume":
		return volumeURL(id)
	case kind == "snapshot":
		return snapshotURL(id)
	case kind == "operation":
		return operationURL(id)
	}
	return ""
}

// withParam is the local URL with one query parameter set.
func withParam(local, key, value string) string {
	path, query, _ := strings.Cut(local, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		values = url.Values{}
	}
	values.Set(key, value)
	return path + "?" + values.Encode()
}

// param is one query parameter, for the hidden fields of a GET form.
type param struct{ name, value string }

// params are the query parameters of a local URL in a stable order.
func params(local string) []param {
	_, query, _ := strings.Cut(local, "?")
	var all []param
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 == nil && err2 == nil && n != "" {
			all = append(all, param{n, v})
		}
	}
	return all
}

func pathOf(local string) string {
	path, _, _ := strings.Cut(local, "?")
	return path
}

// otherLang is the language that the language link leads to.
func otherLang(ctx context.Context) string {
	if i18n.Lang(ctx) == i18n.Korean {
		return i18n.English
	}
	return i18n.Korean
}

var zones sync.Map // IANA name -> *time.Location

// location is the time zone that times are shown in; an unknown name means UTC,
// which the offset beside the time then says.
func location(ctx context.Context) *time.Location {
	name := FrameOf(ctx).TimeZone
	if l, ok := zones.Load(name); ok {
		return l.(*time.Location)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		l = time.UTC
	}
	zones.Store(name, l)
	return l
}

func at(ctx context.Context, us int64) time.Time { return time.UnixMicro(us).In(location(ctx)) }

func minute(ctx context.Context, us int64) string { return at(ctx, us).Format("2006-01-02 15:04") }
func second(ctx context.Context, us int64) string { return at(ctx, us).Format("2006-01-02 15:04:05") }
func offset(ctx context.Context, us int64) string {
	return at(ctx, us).Format("2006-01-02 15:04:05 -07:00")
}
func machine(ctx context.Context, us int64) string { return at(ctx, us).Format(time.RFC3339) }

// ago is the age of a moment by the frame's clock, or the moment itself where the
// frame has none.
func ago(ctx context.Context, us int64) string {
	now := FrameOf(ctx).Now
	if now == 0 {
		return second(ctx, us)
	}
	return i18n.Ago(ctx, time.UnixMicro(us), time.UnixMicro(now))
}

// duration is a span as minutes and seconds, with hours where there are some.
func duration(us int64) string {
	s := max(us, 0) / 1e6
	pad := func(n int64) string {
		if n < 10 {
			return "0" + itoa64(n)
		}
		return itoa64(n)
	}
	if s < 3600 {
		return pad(s/60) + ":" + pad(s%60)
	}
	return itoa64(s/3600) + ":" + pad(s/60%60) + ":" + pad(s%60)
}

// tone is the colour and shape of a status. An unknown word is neutral.
func tone(status string) string {
	switch status {
	case "AVAILABLE", "SUCCEEDED", "DONE":
		return "ok"
	case "IN-USE":
		return "use"
	case "CREATING", "ATTACHING", "DETACHING", "EXTENDING", "RESTORING", "DELETING", "RUNNING":
		return "busy"
	case "PENDING", "WAITING":
		return "wait"
	case "FAILED":
		return "error"
	}
	if strings.HasPrefix(status, "ERROR") {
		return "error"
	}
	return "unknown"
}

// working tells whether the status is one that passes by itself.
func working(status string) bool { return tone(status) == "busy" }

// columns of the tables, for the widths of the empty states.
const (
	snapshotColumns = 8
	volumeColumns   = 8
)

func gib(n int) string { return i18n.Number(int64(n)) + " GiB" }
