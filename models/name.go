package models

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of names given here: «이름은 영문과 숫자로 3Byte 이상 20Byte 이내로 작성해야하며
// 특수문자는 "-" 만 가능합니다» (user guide, «Block Snapshot 생성»).
const (
	NameMinBytes = 3
	NameMaxBytes = 20
	// NamePattern is the rule for an input's pattern attribute, where Chromium's v flag
	// requires the dash to be escaped.
	NamePattern = `[A-Za-z0-9\-]{3,20}`
	// DescriptionMaxRunes is Cinder's limit.
	DescriptionMaxRunes = 255
)

// ValidateName returns what is wrong with a name given in the console, as typed; nil
// when it is valid. Its length is counted in bytes.
func ValidateName(name string) *Text {
	if len(name) < NameMinBytes || len(name) > NameMaxBytes {
		return refuseName(name, "name.invalid")
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return refuseName(name, "name.invalid")
		}
	}
	return nil
}

// ValidateDescription returns what is wrong with a description; nil when it is valid.
// It refuses what a backend would: more than 255 characters, and control characters
// (Cinder accepts only printable ones for snapshots).
func ValidateDescription(text string) *Text {
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > DescriptionMaxRunes ||
		strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return &Text{Key: "description.long"}
	}
	return nil
}

// SuggestName returns a valid name for a snapshot taken of volume at that time: the
// valid characters of the volume's name, cut to fit, and month, day, hour and minute.
func SuggestName(volume string, at time.Time) string {
	suffix := at.Format("-0102-1504")
	base := strings.Map(func(r rune) rune {
		if ValidateName(string(r)+"aa") == nil {
			return r
		}
		return -1
	}, volume)
	if base == "" {
		base = "snapshot"
	}
	return strings.TrimRight(base[:min(len(base), NameMaxBytes-len(suffix))], "-") + suffix
}

// ParseSize parses a whole number of GiB, with or without blanks around it, and returns
// what is wrong with it or nil.
func ParseSize(typed string) (int, *Text) {
	typed = TrimSpace(typed)
	n, err := strconv.ParseInt(typed, 10, 32)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != typed {
		return 0, &Text{Key: "size.invalid"}
	}
	return int(n), nil
}
