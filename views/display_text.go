package views

import (
	"strings"
	"unicode"
)

// Names that come from a cloud may hold anything. Characters that are invisible or
// change the direction of the text around them could make one name look like
// another: they are shown as U+FFFD.

const (
	replacement  = '\ufffd'
	isolateStart = "\u2068" // first strong isolate
	isolateEnd   = "\u2069"
)

// isInvisible excludes the joiners, which emoji and some scripts need.
func isInvisible(r rune) bool {
	switch {
	case r == '\u200c', r == '\u200d':
		return false
	case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
		return true
	}
	return r == '\u3164' || r == '\uffa0' || r == '\u115f' || r == '\u1160' // blank letters of Hangul
}

func dropInvisible(r rune) rune {
	if isInvisible(r) {
		return -1
	}
	return r
}

// displayText makes invisible characters of an untrusted line visible.
func displayText(text string) string { return replaceInvisible(text, "") }

// displayMultiline is displayText for texts of several lines.
func displayMultiline(text string) string {
	return replaceInvisible(strings.ReplaceAll(text, "\r\n", "\n"), "\n\t")
}

func replaceInvisible(text, kept string) string {
	hidden := func(r rune) bool { return isInvisible(r) && !strings.ContainsRune(kept, r) }
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

// displayInSentence is displayText within a sentence of the catalog: text that runs
// from right to left is isolated, so that it does not reorder the sentence.
func displayInSentence(text string) string {
	text = displayText(text)
	if strings.ContainsFunc(text, func(r rune) bool {
		return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko, unicode.Adlam)
	}) {
		return isolateStart + text + isolateEnd
	}
	return text
}
