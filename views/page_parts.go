package views

import (
	"context"

	"blockconsole/views/i18n"
)

// errorTitle names the error by its status, or in general where there is no name.
func errorTitle(ctx context.Context, status int) string {
	key := "error.title." + itoa(status)
	if !i18n.Has(key) {
		key = "error.title"
	}
	return tr(ctx, key)
}

func errorBack(m ErrorPage) string {
	if m.Back != "" {
		return m.Back
	}
	return VolumesPath
}

// auditAction is the name of an action; one that the catalog does not know is
// shown as it is written in the audit.
func auditAction(ctx context.Context, action string) string {
	for _, prefix := range []string{"audit.", "operation."} {
		if i18n.Has(prefix + action) {
			return tr(ctx, prefix+action)
		}
	}
	return action
}

func auditOutcome(ctx context.Context, outcome string) string {
	if i18n.Has("outcome." + outcome) {
		return tr(ctx, "outcome."+outcome)
	}
	return outcome
}

// helpSections are the parts of the guide in order; each is a title «help.<part>».
var helpSections = []string{"intro", "list", "create", "edit", "delete", "restore", "statuses", "faq"}

type link struct{ path, text string }
