package views

import (
	"context"
	"strconv"
	"strings"

	"blockconsole/views/i18n"
)

// tr is the text of key in the language of ctx, with its arguments.
func tr(ctx context.Context, key string, args ...any) string { return i18n.T(ctx, key, args...) }

// messageText is empty for the zero Message.
func messageText(ctx context.Context, m Message) string {
	if m.Key == "" {
		return ""
	}
	var args []any
	for _, arg := range m.Args() {
		args = append(args, displayInSentence(arg))
	}
	return tr(ctx, m.Key, args...)
}

// placeholder marks the argument that a text is split at.
const placeholder = "\x00"

// textBefore and textAfter are the two sides of a text around its one argument, for
// texts whose argument is an element.
func textBefore(ctx context.Context, key string) string {
	s, _, _ := strings.Cut(tr(ctx, key, placeholder), placeholder)
	return s
}

func textAfter(ctx context.Context, key string) string {
	_, s, _ := strings.Cut(tr(ctx, key, placeholder), placeholder)
	return s
}

// textAround are the two sides of a text around the argument placeholder.
func textAround(ctx context.Context, key string, args ...any) (ahead, behind string) {
	ahead, behind, _ = strings.Cut(tr(ctx, key, args...), placeholder)
	return ahead, behind
}

// label is the displayed name of an object: its id where the name is empty or
// invisible, which clouds allow.
func label(id, name string) string {
	if strings.TrimSpace(strings.Map(dropInvisible, name)) == "" {
		return displayText(id)
	}
	return displayText(name)
}

// Label is label for titles of pages.
func Label(id, name string) string { return label(id, name) }

func (l Link) label() string { return label(l.ID, l.Name) }

func joinNames(words []string) string { return displayText(strings.Join(words, ", ")) }

func linkNames(all []Link) string {
	var names []string
	for _, l := range all {
		names = append(names, l.label())
	}
	return joinNames(names)
}

// auditAction is the name of an action, as recorded where the catalog has none.
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

func itoa(n int) string { return strconv.Itoa(n) }

func itoa64(n int64) string { return strconv.FormatInt(n, 10) }

func formatNumber(n int64) string { return i18n.Number(n) }

func formatGiB(n int) string { return i18n.Number(int64(n)) + " GiB" }
