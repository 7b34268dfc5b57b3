package views

import (
	"context"
	"strings"
)

// detailTool is one action on the page of an object.
type detailTool struct {
	action, path, key, icon string
	why                     string // why it is not possible now; empty: it is
	danger                  bool
}

func joined(words []string) string { return visible(strings.Join(words, ", ")) }

// withReasons turns a row's actions into the buttons of its page. Repair is offered
// only to what is stuck.
func withReasons(ctx context.Context, actions []rowAction, why map[string]Message) []detailTool {
	var all []detailTool
	for _, a := range actions {
		reason := why[a.action]
		if a.action == "repair" && reason.Key != "" {
			continue
		}
		all = append(all, detailTool{a.action, a.path, a.key, a.icon, say(ctx, reason), a.danger})
	}
	return all
}

func (m VolumeDetail) tools(ctx context.Context) []detailTool {
	d := m.Deny
	return withReasons(ctx, volumeRowActions(FrameOf(ctx)), map[string]Message{
		"snapshot": d.Snapshot, "edit": d.Edit, "attach": d.Attach, "detach": d.Detach,
		"extend": d.Extend, "delete": d.Delete, "repair": d.Repair,
	})
}

func (m SnapshotDetail) tools(ctx context.Context) []detailTool {
	d := m.Deny
	return withReasons(ctx, snapshotRowActions(FrameOf(ctx)), map[string]Message{
		"edit": d.Edit, "delete": d.Delete, "restore": d.Restore, "revert": d.Revert, "repair": d.Repair,
	})
}
