package openstacktest

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$`)

// invalid is the error of Cinder's JSON schemas.
func invalid(field string, value any, reason string, args ...any) error {
	if s, is := value.(string); is {
		return faultf(http.StatusBadRequest, "%s", "Invalid input for field/attribute "+field+". Value: "+s+". "+fmt.Sprintf(reason, args...))
	}
	return faultf(http.StatusBadRequest, "%s", "Invalid input for field/attribute "+field+". Value: "+pythonRepr(value)+". "+fmt.Sprintf(reason, args...))
}

// pythonRepr is Python's repr, which errors quote.
func pythonRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return "'" + v + "'"
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprintf("%d", int64(v))
		}
		return fmt.Sprint(v)
	case map[string]any:
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, pythonRepr(key)+": "+pythonRepr(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, item := range v {
			parts = append(parts, pythonRepr(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// onlyKeys refuses unknown properties.
func onlyKeys(field string, m map[string]any, allowed ...string) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(allowed, key) {
			return invalid(field, m, "Additional properties are not allowed ('%s' was unexpected)", key)
		}
	}
	return nil
}

// The argument snapshot of textField.
const (
	ofVolume   = false
	ofSnapshot = true
)

// textField reads a string that may be null; given says whether it is in the request. It
// trims spaces. The description of a snapshot must be printable.
func (c *Cloud) textField(m map[string]any, field string, snapshot bool) (value *string, given bool, err error) {
	v, given := m[field]
	if !given || v == nil {
		return nil, given, nil
	}
	s, is := v.(string)
	if !is {
		return nil, true, invalid(field, v, "%s is not of type 'string', 'null'", pythonRepr(v))
	}
	if n := utf8.RuneCountInString(s); n > 255 && snapshot {
		return nil, true, invalid(field, s, "'%s' is too long", s)
	} else if n := utf8.RuneCountInString(strings.TrimSpace(s)); n > 255 {
		return nil, true, faultf(http.StatusBadRequest, "Invalid input received: %s has %d characters, more than 255.", field, n)
	}
	if snapshot && field == "description" && strings.ContainsFunc(s, unprintable) {
		return nil, true, invalid(field, s, "'%s' does not match '^[...]*$'", s)
	}
	if c.opts.BMPOnly && strings.ContainsFunc(s, func(r rune) bool { return r > 0xffff }) {
		return nil, true, faultf(http.StatusInternalServerError, "The server has either erred or is incapable of performing the requested operation.")
	}
	s = strings.TrimSpace(s)
	return &s, true, nil
}

// texts are the name and the description of a request.
type texts struct {
	name, description *string
	named, described  bool // are in the request
}

func (c *Cloud) textFields(m map[string]any, snapshot bool) (t texts, err error) {
	if t.name, t.named, err = c.textField(m, "name", snapshot); err != nil {
		return t, err
	}
	t.description, t.described, err = c.textField(m, "description", snapshot)
	return t, err
}

// set changes what is in the request.
func (t texts) set(name, description **string) {
	if t.named {
		*name = t.name
	}
	if t.described {
		*description = t.description
	}
}

// unprintable are the characters that the schema of a snapshot's description excludes:
// controls, line breaks, what has no glyph, and everything from U+FFFF on.
func unprintable(r rune) bool {
	return r >= 0xffff || unicode.Is(unicode.C, r) || unicode.In(r, unicode.Zl, unicode.Zp) || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs)
}

// metadataField reads an object of strings.
func metadataField(m map[string]any, field string) (map[string]string, error) {
	v, given := m[field]
	if !given || v == nil {
		return map[string]string{}, nil
	}
	object, is := v.(map[string]any)
	if !is {
		return nil, invalid(field, v, "%s is not of type 'object', 'null'", pythonRepr(v))
	}
	made := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value, is := object[key].(string)
		if !is {
			return nil, invalid(key, object[key], "%s is not of type 'string'", pythonRepr(object[key]))
		}
		made[key] = value
	}
	return made, metadataSize(made)
}

// metadataSize refuses keys and values that the database cannot store.
func metadataSize(m map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch {
		case key == "":
			return faultf(http.StatusBadRequest, "Invalid metadata: Metadata property key blank.")
		case len(key) > 255:
			return faultf(http.StatusRequestEntityTooLarge, "Invalid metadata size: Metadata property key %s greater than 255 characters.", key)
		case len(m[key]) > 255:
			return faultf(http.StatusRequestEntityTooLarge, "Invalid metadata size: Metadata property key %s value greater than 255 characters.", key)
		}
	}
	return nil
}

// uuidField reads an id; "" when there is none.
func uuidField(m map[string]any, field string) (string, error) {
	v, given := m[field]
	if !given || v == nil {
		return "", nil
	}
	s, _ := v.(string)
	if !uuidPattern.MatchString(s) {
		return "", invalid(field, v, "%s is not valid under any of the given schemas", pythonRepr(v))
	}
	return s, nil
}

// sizeField reads a size in GiB, as a number or a string of digits; 0 is none.
func sizeField(m map[string]any, field string) (int, error) {
	v, given := m[field]
	if !given || v == nil {
		return 0, nil
	}
	if s, is := v.(string); is {
		if n := atoi(s); n > 0 {
			return n, nil
		}
		return 0, invalid(field, s, "'%s' does not match '^[0-9]+$'", s)
	}
	n, is := v.(float64)
	switch {
	case !is || n != float64(int(n)):
		return 0, invalid(field, v, "%s is not of type 'integer', 'string', 'null'", pythonRepr(v))
	case n < 1:
		return 0, invalid(field, v, "%d is less than the minimum of 1", int(n))
	case n > 0x7fffffff:
		return 0, invalid(field, v, "%d is greater than the maximum of 2147483647", int(n))
	}
	return int(n), nil
}
