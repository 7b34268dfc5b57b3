package models

import (
	"strings"
	"unicode/utf8"
)

// maxTextRunes is what the port promises of names (Cinder: 255 characters).
const maxTextRunes = 255

// Sanitize makes a text that came from elsewhere fit for both databases: valid
// UTF-8 without NUL, cut to maxTextRunes characters.
func Sanitize(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\ufffd")
	if utf8.RuneCountInString(text) > maxTextRunes {
		text = string([]rune(text)[:maxTextRunes])
	}
	return text
}
