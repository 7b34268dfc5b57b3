package models

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// TrimSpace removes the white space of Unicode at both ends of a text, and what is not
// seen there either: zero-width characters, marks of direction and soft hyphens, which
// come with copied texts. Searches, ids, user names and numbers are trimmed; names of
// objects are not.
func TrimSpace(text string) string { return strings.TrimFunc(text, isBlank) }

func isBlank(r rune) bool {
	switch {
	case unicode.IsSpace(r), r >= '\u200b' && r <= '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2060' && r <= '\u206f':
		return true
	}
	return r == '\u00ad' || r == '\u180e' || r == '\ufeff'
}

// refuseName is the text of a name that breaks a rule. Where it has blanks at an end,
// the text names them: nobody sees them.
func refuseName(name, rule string) *Text {
	trimmed := TrimSpace(name)
	switch {
	case trimmed == "" || trimmed == name:
		return &Text{Key: rule}
	case strings.HasSuffix(name, trimmed):
		return &Text{Key: rule + ".space_before"}
	}
	return &Text{Key: rule + ".space_after"}
}

// maxTextRunes is the port's limit of names (Cinder: 255 characters).
const maxTextRunes = 255

// Sanitize makes a text from a backend acceptable to both databases: valid UTF-8
// without NUL, cut to 255 characters.
func Sanitize(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\ufffd")
	if utf8.RuneCountInString(text) > maxTextRunes {
		text = string([]rune(text)[:maxTextRunes])
	}
	return text
}
