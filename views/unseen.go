package views

import (
	"strings"
	"unicode"
)

// Names that come from a cloud may hold anything. Characters that cannot be seen,
// or that turn the direction of the text around them, could make a name look like
// another one: they are shown as a sign.

const (
	replacement  = '\ufffd'
	isolateStart = "\u2068" // first strong isolate
	isolateEnd   = "\u2069"
)

// unseen says that a character has no look of its own. The joiners are left out:
// emoji and some scripts need them.
func unseen(r rune) bool {
	switch {
	case r == '\u200c', r == '\u200d':
		return false
	case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
		return true
	}
	return r == '\u3164' || r == '\uffa0' || r == '\u115f' || r == '\u1160' // letters of Hangul that are blank
}

func dropUnseen(r rune) rune {
	if unseen(r) {
		return -1
	}
	return r
}

// visible is a line of text from elsewhere as it can be shown.
func visible(text string) string { return visibleBut(text, "") }

// prose is visible for texts that may have several lines.
func prose(text string) string { return visibleBut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\t") }

func visibleBut(text, kept string) string {
	hidden := func(r rune) bool { return unseen(r) && !strings.ContainsRune(kept, r) }
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return replacement
		}
		return r
	}, text)
}

// inSentence is a text from elsewhere within a sentence of the catalog: letters
// that run from right to left keep to themselves.
func inSentence(text string) string {
	text = visible(text)
	if strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Adlam)
	}) {
		return isolateStart + text + isolateEnd
	}
	return text
}
