package i18n

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func raw(t *testing.T, data []byte) map[string]string {
	t.Helper()
	var m map[string]string
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func hangul(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Hangul, r) })
}

func TestCatalogs_SameKeys(t *testing.T) {
	t.Parallel()
	ko, en := raw(t, koJSON), raw(t, enJSON)
	for key := range ko {
		if _, ok := en[key]; !ok {
			t.Errorf("en.json lacks %q", key)
		}
	}
	for key := range en {
		base, one := strings.CutSuffix(key, ".one")
		if _, ok := ko[key]; ok {
			continue
		}
		if _, ok := ko[base]; !ok || !one {
			t.Errorf("ko.json lacks %q", key)
		}
	}
}

var argument = regexp.MustCompile(`\{(\d)`)

// arguments lists which arguments a text names.
func arguments(s string) []string {
	var all []string
	for _, m := range argument.FindAllStringSubmatch(s, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestCatalogs_SameArguments(t *testing.T) {
	t.Parallel()
	ko := raw(t, koJSON)
	for key, english := range raw(t, enJSON) {
		korean, ok := ko[key]
		if !ok {
			continue
		}
		if a, b := arguments(korean), arguments(english); !slices.Equal(a, b) {
			t.Errorf("%s: arguments %v in Korean, %v in English", key, a, b)
		}
		if strings.TrimSpace(korean) == "" || strings.TrimSpace(english) == "" {
			t.Errorf("%s is empty", key)
		}
	}
}

func TestCatalogs_NoHangulInEnglish(t *testing.T) {
	t.Parallel()
	for key, text := range raw(t, enJSON) {
		if hangul(text) {
			t.Errorf("%s: %q", key, text)
		}
	}
}

var keyLine = regexp.MustCompile(`^  "([^"]+)": `)

func TestCatalogs_SortedUnique(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{"ko.json": koJSON, "en.json": enJSON} {
		last := ""
		for line := range strings.Lines(string(data)) {
			m := keyLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			if m[1] <= last {
				t.Errorf("%s: %q does not come after %q", name, m[1], last)
			}
			last = m[1]
		}
		if last == "" {
			t.Errorf("%s has no lines of the form %s", name, keyLine)
		}
	}
}

// sources calls f with every Go, templ and JavaScript file that is not generated.
func sources(t *testing.T, f func(path, text string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "data") {
			return filepath.SkipDir
		}
		ext := filepath.Ext(path)
		if d.IsDir() || (ext != ".go" && ext != ".templ" && ext != ".js") || strings.HasSuffix(path, "_templ.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil {
			f(path, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSources_NoHangulOutsideCatalog leaves out tests and comments.
func TestSources_NoHangulOutsideCatalog(t *testing.T) {
	t.Parallel()
	quoted := regexp.MustCompile("\"[^\"\n]*\"|`[^`]*`|'[^'\n]*'")
	sources(t, func(path, text string) {
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, "viewtest") || strings.Contains(path, "testdata") {
			return
		}
		parts := []string{withoutComments(text)}
		if filepath.Ext(path) == ".go" {
			parts = quoted.FindAllString(parts[0], -1)
		}
		for _, part := range parts {
			if hangul(part) {
				t.Errorf("%s has Korean text outside the catalog: %.60q", path, part)
			}
		}
	})
}

func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); strings.HasPrefix(trimmed, "//") {
			continue
		}
		if code, _, ok := strings.Cut(line, "// "); ok {
			line = code + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// computedPrefixes begin keys whose last part is computed, so that no source has
// them whole.
var computedPrefixes = []string{
	"ago.", "role.", "operation.", "opstate.", "stepstate.", "step.", "accepted.", "failure.", "deny.", "guide.", "quota.",
	"audit.", "outcome.", "error.", "theme.", "density.", "consistency.", "field.", "help.", "snapshot.", "volume.", "list.need_",
	"degraded.", "use.", "export.tool.", "name.", "description.", "size.", "server.", "user.", "password.", "image.unusable.",
	"short.", "unsaved.", "gone.",
}

var literalKey = regexp.MustCompile(`\b(?:tr|T|N|textBefore|textAfter|textAround)\((?:ctx|[a-z.]+\([^()]*\)|c), "([a-z][a-zA-Z0-9_.]*)"[,)]`)

// messageKey finds the keys of the messages that models and handlers make.
var messageKey = regexp.MustCompile(`(?:\b(?:Say|NewText|deny)\(|\bKey: )"([a-z]+\.[a-zA-Z0-9_.]*[a-zA-Z0-9_])"`)

func TestSources_KeysExist(t *testing.T) {
	t.Parallel()
	found := 0
	sources(t, func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range append(literalKey.FindAllStringSubmatch(text, -1), messageKey.FindAllStringSubmatch(text, -1)...) {
			found++
			if !Has(m[1]) {
				t.Errorf("%s: no text for %q", path, m[1])
			}
		}
	})
	if found < 100 {
		t.Errorf("only %d keys were found in the sources: the pattern no longer fits", found)
	}
}

func TestCatalogs_NoUnusedKey(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	sources(t, func(_, text string) { all.WriteString(text) })
	text := all.String()
	for key := range raw(t, koJSON) {
		if slices.ContainsFunc(computedPrefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			continue
		}
		if !strings.Contains(text, `"`+key+`"`) {
			t.Errorf("%q is used nowhere", key)
		}
	}
}

// TestCatalogs_EnumeratedKeys checks the keys that end in a word of a closed set.
func TestCatalogs_EnumeratedKeys(t *testing.T) {
	t.Parallel()
	families := map[string][]string{
		"gone.":        {"volume", "volume.guide", "snapshot", "snapshot.guide"},
		"role.":        {"viewer", "operator", "administrator"},
		"opstate.":     {"PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"},
		"stepstate.":   {"DONE", "RUNNING", "WAITING", "FAILED"},
		"help.status.": {"CREATING", "AVAILABLE", "IN-USE", "ATTACHING", "DETACHING", "EXTENDING", "RESTORING", "DELETING", "ERROR", "ERROR_DELETING"},
		"operation.": {"volume.create", "volume.edit", "volume.extend", "volume.delete", "volume.attach", "volume.detach", "volume.repair", "volume.revert",
			"snapshot.create", "snapshot.edit", "snapshot.delete", "snapshot.restore", "snapshot.repair", "snapshot.check", "snapshot.attach", "snapshot.detach"},
		"consistency.": {"clean", "crash", "none", "clean.hint", "crash.hint", "none.hint"},
		"failure.": {"no_space", "quota", "not_found", "conflict", "busy", "forbidden", "unavailable", "unsupported", "invalid", "internal", "vanished", "timeout",
			"credentials", "token", "too_many", "certificate", "clock", "missing", "changed", "container", "damaged.gone", "damaged.gone.served", "damaged.gone.kept",
			"damaged.size", "damaged.size.served", "damaged.replaced", "damaged.replaced.served", "damaged.replaced.kept", "damaged.description",
			"blocks", "blocks.restore", "checksums", "checksums.restore"},
		"image.unusable.": {"name", "unreadable", "format"},
		"degraded.":       {"credentials", "token", "too_many", "certificate", "clock", "unavailable", "internal", "never"},
		"error.":          {"400", "408", "415", "421", "421.guide", "400.guide", "408.guide", "415.guide", "403", "404", "405", "413", "429", "500", "503", "403.guide", "404.guide", "405.guide", "413.guide", "429.guide", "500.guide", "503.guide"},
	}
	for prefix, words := range families {
		for _, word := range words {
			if !Has(prefix + word) {
				t.Errorf("no text for %q", prefix+word)
			}
		}
	}
}
