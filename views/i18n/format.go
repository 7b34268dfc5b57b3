package i18n

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Number writes n with its digits in groups of three.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	if len(s) <= 3 {
		return sign + s
	}
	var b strings.Builder
	b.WriteString(sign)
	first := len(s) % 3
	b.WriteString(s[:first])
	for i := first; i < len(s); i += 3 {
		if b.Len() > len(sign) {
			b.WriteByte(',')
		}
		b.WriteString(s[i : i+3])
	}
	return b.String()
}

// Bytes writes a count of bytes in the largest binary unit that keeps it at one
// or more, with one decimal where that says something.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	s := strconv.FormatFloat(value, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0") + " " + units[unit]
}

// ageUnits are the units in which ages are told, the largest first.
var ageUnits = []struct {
	key  string
	size time.Duration
}{
	{"ago.day", 24 * time.Hour}, {"ago.hour", time.Hour}, {"ago.minute", time.Minute}, {"ago.second", time.Second},
}

// Ago writes the age of at, such as «3 seconds ago»; 0 seconds when now is before it.
func Ago(ctx context.Context, at, now time.Time) string {
	age := max(now.Sub(at), 0)
	unit := ageUnits[len(ageUnits)-1]
	for _, u := range ageUnits {
		if age >= u.size {
			unit = u
			break
		}
	}
	return N(ctx, unit.key, int64(age/unit.size))
}

// AgoTable is what scripts write ages with, as Ago does: per unit, the largest first,
// its seconds, the text for one and the text for another number, which is {0}; JSON.
func AgoTable(ctx context.Context) string {
	var table [][]any
	for _, u := range ageUnits {
		one := u.key + ".one"
		if _, ok := lookup(ctx, one); !ok {
			one = u.key
		}
		table = append(table, []any{int64(u.size / time.Second), T(ctx, one, "{0}"), T(ctx, u.key, "{0}")})
	}
	b, err := json.Marshal(table)
	if err != nil { // numbers and texts cannot fail
		return "[]"
	}
	return string(b)
}

// The Hangul syllables, of which every 28th has no final consonant.
const (
	firstSyllable = 0xAC00
	lastSyllable  = 0xD7A3
	finals        = 28
	finalRieul    = 8
	syllableEu    = 0xC73C // begins the directional particle, which a final rieul does not take
)

// digitFinals are the final consonants of the digits as read in Korean: 0 none, 8
// rieul, else another.
var digitFinals = [10]int{21, 8, 0, 16, 0, 0, 1, 8, 8, 0}

// Particle chooses between the two forms of a Korean particle: with after a word
// that ends in a consonant, out after a vowel. Where the reading of the word's
// end cannot be known (Latin letters), both are written, with the second in
// parentheses, as Korean forms do.
func Particle(word, with, out string) string {
	r, _ := utf8.DecodeLastRuneInString(strings.TrimRight(word, ` "'”’»)]`))
	final := 0
	switch {
	case r >= firstSyllable && r <= lastSyllable:
		final = int(r-firstSyllable) % finals
	case r >= '0' && r <= '9':
		final = digitFinals[r-'0']
	default:
		return with + "(" + out + ")"
	}
	first, _ := utf8.DecodeRuneInString(with)
	if final == 0 || (final == finalRieul && first == syllableEu) {
		return out
	}
	return with
}
