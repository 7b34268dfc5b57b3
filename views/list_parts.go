package views

import (
	"context"
	"io"
	"strings"

	"github.com/a-h/templ"

	"blockconsole/views/i18n"
)

// tool is one action above a list.
type tool struct {
	action string // as in data-deny-<action> of the rows
	url    string
	key    string // catalog key of its name
	icon   string
	need   string // any, one, many: how many rows it takes
	danger bool
	create bool // a link that needs no row
}

// rowAction is one action of a row's menu; path is below the object's own page.
type rowAction struct {
	action, path, key, icon string
	danger                  bool
}

func snapshotTools() []tool {
	return []tool{
		{action: "edit", url: SnapshotsPath + "/edit", key: "action.edit", icon: "edit", need: "one"},
		{action: "delete", url: SnapshotsPath + "/delete", key: "action.delete", icon: "trash", need: "many", danger: true},
		{action: "restore", url: SnapshotsPath + "/restore", key: "action.create_volume", icon: "restore", need: "one"},
	}
}

func snapshotRowActions(f *Frame) []rowAction {
	if !f.User.Operator {
		return nil
	}
	all := []rowAction{
		{action: "edit", path: "edit", key: "action.edit", icon: "edit"},
		{action: "restore", path: "restore", key: "action.create_volume", icon: "restore"},
	}
	if f.Revert {
		all = append(all, rowAction{action: "revert", path: "revert", key: "action.revert", icon: "restore"})
	}
	if f.User.Administrator {
		all = append(all, rowAction{action: "repair", path: "repair", key: "action.repair", icon: "tool"})
	}
	return append(all, rowAction{action: "delete", path: "delete", key: "action.delete", icon: "trash", danger: true})
}

func volumeTools(f *Frame) []tool {
	all := []tool{
		{action: "create", url: VolumesPath + "/new", key: "action.create", icon: "plus", create: true},
		{action: "snapshot", url: VolumesPath + "/new-snapshot", key: "action.create_snapshot", icon: "camera", need: "any"},
		{action: "edit", url: VolumesPath + "/edit", key: "action.edit", icon: "edit", need: "one"},
	}
	if f.Attach {
		all = append(all,
			tool{action: "attach", url: VolumesPath + "/attach", key: "action.attach", icon: "link", need: "one"},
			tool{action: "detach", url: VolumesPath + "/detach", key: "action.detach", icon: "unlink", need: "one"})
	}
	return append(all,
		tool{action: "extend", url: VolumesPath + "/extend", key: "action.extend", icon: "grow", need: "one"},
		tool{action: "delete", url: VolumesPath + "/delete", key: "action.delete", icon: "trash", need: "many", danger: true})
}

func volumeRowActions(f *Frame) []rowAction {
	if !f.User.Operator {
		return nil
	}
	all := []rowAction{
		{action: "snapshot", path: "snapshots/new", key: "action.create_snapshot", icon: "camera"},
		{action: "edit", path: "edit", key: "action.edit", icon: "edit"},
	}
	if f.Attach {
		all = append(all,
			rowAction{action: "attach", path: "attach", key: "action.attach", icon: "link"},
			rowAction{action: "detach", path: "detach", key: "action.detach", icon: "unlink"})
	}
	all = append(all, rowAction{action: "extend", path: "extend", key: "action.extend", icon: "grow"})
	if f.User.Administrator {
		all = append(all, rowAction{action: "repair", path: "repair", key: "action.repair", icon: "tool"})
	}
	return append(all, rowAction{action: "delete", path: "delete", key: "action.delete", icon: "trash", danger: true})
}

// kept are the parts of the list's state that a new search keeps.
func (l *List) kept() []param {
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

// sorted is the aria-sort of a column.
func (l *List) sorted(key string) string {
	switch l.Sort {
	case key:
		return "ascending"
	case "-" + key:
		return "descending"
	}
	return ""
}

// columns is how many columns a list of n has: one more where the projects are shown.
func (l *List) columns(n int) string {
	if len(l.Projects) > 0 {
		n++
	}
	return itoa(n)
}

// project is the id of the project that the list is filtered by.
func (l *List) project() string {
	if l.Project == nil {
		return ""
	}
	return l.Project.ID
}

// unread says that nothing can be said yet: the backend was never read.
func (l *List) unread() bool { return l.FreshAt == 0 && !l.Filtered }

// why is the reason of a degraded page, from the reader's side where there is a
// text for it.
func (d Degraded) why(ctx context.Context) string {
	if key := "degraded." + strings.TrimPrefix(d.Reason.Key, "failure."); i18n.Has(key) {
		return tr(ctx, key)
	}
	return say(ctx, d.Reason)
}

const middle = "\x00"

// before and after are the two sides of a text around its one argument, for texts
// whose argument is an element.
func before(ctx context.Context, key string) string {
	s, _, _ := strings.Cut(tr(ctx, key, middle), middle)
	return s
}

func after(ctx context.Context, key string) string {
	_, s, _ := strings.Cut(tr(ctx, key, middle), middle)
	return s
}

// around are the two sides of a text around the argument that is middle.
func around(ctx context.Context, key string, args ...any) (ahead, behind string) {
	ahead, behind, _ = strings.Cut(tr(ctx, key, args...), middle)
	return ahead, behind
}

func numberOf(n int64) string { return i18n.Number(n) }

// raw writes HTML that this package rendered before.
func raw(html []byte) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := w.Write(html)
		return err
	})
}

// denials are the data-deny-<action> attributes of a row, for the actions that it
// does not take.
func denials(ctx context.Context, pairs ...denial) templ.OrderedAttributes {
	var all templ.OrderedAttributes
	for _, p := range pairs {
		if p.why.Key != "" {
			all = append(all, templ.KeyValue[string, any]{Key: "data-deny-" + p.action, Value: say(ctx, p.why)})
		}
	}
	return all
}

type denial struct {
	action string
	why    Message
}

func (d SnapshotDenials) attrs(ctx context.Context) templ.OrderedAttributes {
	return denials(ctx, denial{"edit", d.Edit}, denial{"delete", d.Delete}, denial{"restore", d.Restore},
		denial{"revert", d.Revert}, denial{"repair", d.Repair})
}

func (d VolumeDenials) attrs(ctx context.Context) templ.OrderedAttributes {
	return denials(ctx, denial{"snapshot", d.Snapshot}, denial{"edit", d.Edit}, denial{"attach", d.Attach},
		denial{"detach", d.Detach}, denial{"extend", d.Extend}, denial{"delete", d.Delete}, denial{"repair", d.Repair})
}
