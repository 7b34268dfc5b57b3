package views

import "context"

// toolbarAction is one action above a list.
type toolbarAction struct {
	action    string // as in data-deny-<action> of the rows
	url       string
	key       string // catalog key of the label
	icon      string
	selection string // how many rows it takes: any, one, many; data-need
	danger    bool
	create    bool // a link that takes no row
}

func snapshotToolbarActions(f *PageContext) []toolbarAction {
	all := []toolbarAction{
		{action: "edit", url: SnapshotsPath + "/edit", key: "action.edit", icon: "edit", selection: "one"},
		{action: "lock", url: SnapshotsPath + "/lock", key: "action.lock", icon: "lock", selection: "many"},
		{action: "delete", url: SnapshotsPath + "/delete", key: "action.delete", icon: "trash", selection: "many", danger: true},
		{action: "restore", url: SnapshotsPath + "/restore", key: "action.create_volume", icon: "restore", selection: "one"},
	}
	if f.AttachSnapshots {
		all = append(all,
			toolbarAction{action: "attach", url: SnapshotsPath + "/attach", key: "action.attach_read_only", icon: "link", selection: "one"},
			toolbarAction{action: "detach", url: SnapshotsPath + "/detach", key: "action.detach", icon: "unlink", selection: "one"})
	}
	if f.Checksums && f.User.Administrator {
		all = append(all, toolbarAction{action: "check", url: SnapshotsPath + "/check", key: "action.check", icon: "check", selection: "any"})
	}
	return all
}

func volumeToolbarActions(f *PageContext) []toolbarAction {
	all := []toolbarAction{
		{action: "create", url: VolumesPath + "/new", key: "action.create", icon: "plus", create: true},
		{action: "snapshot", url: VolumesPath + "/new-snapshot", key: "action.create_snapshot", icon: "camera", selection: "any"},
		{action: "edit", url: VolumesPath + "/edit", key: "action.edit", icon: "edit", selection: "one"},
	}
	if f.Attach {
		all = append(all,
			toolbarAction{action: "attach", url: VolumesPath + "/attach", key: "action.attach", icon: "link", selection: "one"},
			toolbarAction{action: "detach", url: VolumesPath + "/detach", key: "action.detach", icon: "unlink", selection: "one"})
	}
	return append(all,
		toolbarAction{action: "extend", url: VolumesPath + "/extend", key: "action.extend", icon: "grow", selection: "one"},
		toolbarAction{action: "lock", url: VolumesPath + "/lock", key: "action.lock", icon: "lock", selection: "many"},
		toolbarAction{action: "delete", url: VolumesPath + "/delete", key: "action.delete", icon: "trash", selection: "many", danger: true})
}

// rowAction is one action of a row's menu; path is relative to the object's page.
type rowAction struct {
	action, path, key, icon string
	danger                  bool
}

func snapshotRowActions(f *PageContext) []rowAction {
	if !f.User.Operator {
		return nil
	}
	all := []rowAction{
		{action: "edit", path: "edit", key: "action.edit", icon: "edit"},
		{action: "restore", path: "restore", key: "action.create_volume", icon: "restore"},
	}
	if f.AttachSnapshots {
		all = append(all,
			rowAction{action: "attach", path: "attach", key: "action.attach_read_only", icon: "link"},
			rowAction{action: "detach", path: "detach", key: "action.detach", icon: "unlink"})
	}
	if f.Revert {
		all = append(all, rowAction{action: "revert", path: "revert", key: "action.revert", icon: "restore"})
	}
	all = append(all, rowAction{action: "lock", path: "lock", key: "action.lock", icon: "lock"})
	if f.User.Administrator {
		all = append(all, rowAction{action: "unlock", path: "unlock", key: "action.unlock", icon: "unlock"})
		all = append(all, rowAction{action: "repair", path: "repair", key: "action.repair", icon: "tool"})
		if f.Checksums {
			all = append(all, rowAction{action: "check", path: "check", key: "action.check", icon: "check"})
		}
	}
	return append(all, rowAction{action: "delete", path: "delete", key: "action.delete", icon: "trash", danger: true})
}

func volumeRowActions(f *PageContext) []rowAction {
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
	all = append(all, rowAction{action: "lock", path: "lock", key: "action.lock", icon: "lock"})
	if f.User.Administrator {
		all = append(all, rowAction{action: "unlock", path: "unlock", key: "action.unlock", icon: "unlock"})
		all = append(all, rowAction{action: "repair", path: "repair", key: "action.repair", icon: "tool"})
	}
	return append(all, rowAction{action: "delete", path: "delete", key: "action.delete", icon: "trash", danger: true})
}

// detailAction is one action on the page of an object.
type detailAction struct {
	action, path, key, icon string
	denied                  string // empty: allowed
	danger                  bool
}

// detailActions are the row actions as buttons of the object's page. Repair and unlock
// are left out unless they are allowed.
func detailActions(ctx context.Context, actions []rowAction, denials map[string]Message) []detailAction {
	var all []detailAction
	for _, a := range actions {
		reason := denials[a.action]
		if (a.action == "repair" || a.action == "unlock") && reason.Key != "" {
			continue
		}
		all = append(all, detailAction{a.action, a.path, a.key, a.icon, messageText(ctx, reason), a.danger})
	}
	return all
}

func (m VolumeDetail) actions(ctx context.Context) []detailAction {
	d := m.Deny
	return detailActions(ctx, volumeRowActions(PageContextOf(ctx)), map[string]Message{
		"snapshot": d.Snapshot, "edit": d.Edit, "attach": d.Attach, "detach": d.Detach,
		"extend": d.Extend, "delete": d.Delete, "repair": d.Repair, "lock": d.Lock, "unlock": d.Unlock,
	})
}

func (m SnapshotDetail) actions(ctx context.Context) []detailAction {
	d := m.Deny
	return detailActions(ctx, snapshotRowActions(PageContextOf(ctx)), map[string]Message{
		"edit": d.Edit, "delete": d.Delete, "restore": d.Restore, "revert": d.Revert, "repair": d.Repair, "check": d.Check,
		"attach": d.Attach, "detach": d.Detach, "lock": d.Lock, "unlock": d.Unlock,
	})
}
