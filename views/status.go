package views

import "strings"

// statusTone chooses the colour and icon of a status; unknown ones are neutral.
func statusTone(status string) string {
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

// inTransition reports whether the status changes by itself.
func inTransition(status string) bool { return statusTone(status) == "busy" }

// useTone chooses the colour and icon of an attachment's use.
func useTone(use string) string {
	switch use {
	case "connected":
		return "use"
	case "never", "idle":
		return "wait"
	}
	return "unknown"
}

func useKey(use string) string {
	if use == "" {
		return "use.unknown"
	}
	return "use." + use
}
