package models

import (
	"strings"
	"unicode/utf8"
)

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
