package openstacktest

import (
	"maps"
	"time"
)

func orNullPtr(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func cloneMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

// cinderTime is a time in Cinder's format, UTC without a zone; null when zero.
func cinderTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000")
}

// keystoneTime is a time in Keystone's format.
func keystoneTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
