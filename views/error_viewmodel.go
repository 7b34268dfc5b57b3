package views

import (
	"context"

	"blockconsole/views/i18n"
)

// ErrorInfo is the page of any error.
type ErrorInfo struct {
	Status    int
	Message   Message
	Guidance  Message
	RequestID string
	Back      string
}

// errorTitle is general where the catalog has no title of the status.
func errorTitle(ctx context.Context, status int) string {
	key := "error.title." + itoa(status)
	if !i18n.Has(key) {
		key = "error.title"
	}
	return tr(ctx, key)
}

func errorBack(m ErrorInfo) string {
	if m.Back != "" {
		return m.Back
	}
	return VolumesPath
}
