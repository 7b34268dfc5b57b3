package views

import (
	"context"
	"io"
	"strings"

	"github.com/a-h/templ"

	"blockconsole/views/i18n"
)

// Columns of the tables without that of the project, for the colspan of empty states.
const (
	snapshotColumns = 8
	volumeColumns   = 8
)

// persistentParams are the query parameters that a new search keeps.
func (l *List) persistentParams() []param {
	var all []param
	if l.Sort != "" {
		all = append(all, param{"sort", l.Sort})
	}
	if l.Size != 0 {
		all = append(all, param{"size", itoa(l.Size)})
	}
	if l.Volume != nil {
		all = append(all, param{"volume", l.Volume.ID})
	}
	if l.Server != nil {
		all = append(all, param{"server", l.Server.ID})
	}
	return all
}

// ariaSort is the aria-sort of a column; empty: not sorted by it.
func (l *List) ariaSort(key string) string {
	switch l.Sort {
	case key:
		return "ascending"
	case "-" + key:
		return "descending"
	}
	return ""
}

// colspan is n, and one more where the project is shown.
func (l *List) colspan(n int) string {
	if len(l.Projects) > 0 {
		n++
	}
	return itoa(n)
}

// projectID is the value of the project filter.
func (l *List) projectID() string {
	if l.Project == nil {
		return ""
	}
	return l.Project.ID
}

// neverRead reports whether the backend has not been read since the installation.
func (l *List) neverRead() bool { return l.LastReadAt == 0 && !l.Filtered }

// reasonText prefers the text degraded.<reason>, which is written for readers, to
// that of the failure itself.
func (d Degraded) reasonText(ctx context.Context) string {
	if key := "degraded." + strings.TrimPrefix(d.Reason.Key, "failure."); i18n.Has(key) {
		return tr(ctx, key)
	}
	return messageText(ctx, d.Reason)
}

// lockTitle is the last day of a lock, and its reason.
func lockTitle(ctx context.Context, l Locked) string {
	day := tr(ctx, "lock.until", formatLastDay(ctx, l.Until))
	if l.Reason == "" {
		return day
	}
	return day + " · " + displayText(l.Reason)
}

// raw writes HTML that this package rendered earlier.
func raw(html []byte) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := w.Write(html)
		return err
	})
}

type denial struct {
	action string
	reason Message
}

// denialAttributes are the data-deny-<action> attributes of a row, for the actions
// that are denied.
func denialAttributes(ctx context.Context, pairs ...denial) templ.OrderedAttributes {
	var all templ.OrderedAttributes
	for _, p := range pairs {
		if p.reason.Key != "" {
			all = append(all, templ.KeyValue[string, any]{Key: "data-deny-" + p.action, Value: messageText(ctx, p.reason)})
		}
	}
	return all
}

func (d SnapshotDenials) attrs(ctx context.Context) templ.OrderedAttributes {
	return denialAttributes(ctx, denial{"edit", d.Edit}, denial{"delete", d.Delete}, denial{"restore", d.Restore},
		denial{"revert", d.Revert}, denial{"repair", d.Repair}, denial{"check", d.Check},
		denial{"attach", d.Attach}, denial{"detach", d.Detach},
		denial{"lock", d.Lock}, denial{"unlock", d.Unlock})
}

func (d VolumeDenials) attrs(ctx context.Context) templ.OrderedAttributes {
	return denialAttributes(ctx, denial{"snapshot", d.Snapshot}, denial{"edit", d.Edit}, denial{"attach", d.Attach},
		denial{"detach", d.Detach}, denial{"extend", d.Extend}, denial{"delete", d.Delete}, denial{"repair", d.Repair},
		denial{"lock", d.Lock}, denial{"unlock", d.Unlock})
}
