// Package i18n holds every text of the console in Korean (the default) and
// English. The catalogs are two flat JSON files with the same keys; the language
// travels in the context.
//
// A text may name its arguments:
//
//	{0}          the first argument as it is
//	{0|A/B}      the first argument followed by the Korean particle A (after a final consonant) or B
//	{0:bytes}    a count of bytes, such as 1.5 GiB; {0:number} groups the digits
//	{0:status}   the text of the key «status.<argument>», or the argument where there is no such key;
//	             of volumes_ssd that of volumes, with the rest in parentheses
package i18n

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
)

// The languages of the console. The first one is the default.
const (
	Korean  = "ko"
	English = "en"
)

// Langs lists the languages, the default first.
var Langs = []string{Korean, English}

//go:embed ko.json
var koJSON []byte

//go:embed en.json
var enJSON []byte

// part is a piece of a text: literal text, or an argument and its format.
type part struct {
	text      string
	arg       int // -1: text only
	with, out string
	kind      string
}

type text struct {
	plain string // set when there are no arguments
	parts []part
}

var catalogs = map[string]map[string]text{Korean: compile(koJSON), English: compile(enJSON)}

var (
	koCatalog = catalogs[Korean]
	enCatalog = catalogs[English]
)

func compile(data []byte) map[string]text {
	var raw map[string]string
	if err := json.Unmarshal(data, &raw); err != nil {
		panic("i18n: broken catalog: " + err.Error())
	}
	all := make(map[string]text, len(raw))
	for key, value := range raw {
		parts, err := parse(value)
		if err != nil {
			panic("i18n: " + key + ": " + err.Error())
		}
		t := text{parts: parts}
		if len(parts) == 1 && parts[0].arg < 0 {
			t = text{plain: parts[0].text}
		}
		all[key] = t
	}
	return all
}

// parse splits a text into its parts. Braces always mean an argument.
func parse(s string) ([]part, error) {
	var parts []part
	for {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(s[open:], '}')
		if end < 0 {
			return nil, fmt.Errorf("unclosed brace in %q", s)
		}
		if open > 0 {
			parts = append(parts, part{text: s[:open], arg: -1})
		}
		p, err := parseArg(s[open+1 : open+end])
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
		s = s[open+end+1:]
	}
	if s != "" || len(parts) == 0 {
		parts = append(parts, part{text: s, arg: -1})
	}
	return parts, nil
}

func parseArg(s string) (part, error) {
	number, rest := s, ""
	if i := strings.IndexAny(s, "|:"); i >= 0 {
		number, rest = s[:i], s[i:]
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > 9 {
		return part{}, fmt.Errorf("argument {%s} has no number from 0 to 9", s)
	}
	p := part{arg: n}
	switch {
	case strings.HasPrefix(rest, "|"):
		with, out, ok := strings.Cut(rest[1:], "/")
		if !ok || with == "" || out == "" {
			return part{}, fmt.Errorf("argument {%s} needs two particles", s)
		}
		p.with, p.out = with, out
	case strings.HasPrefix(rest, ":"):
		if p.kind = rest[1:]; p.kind == "" {
			return part{}, fmt.Errorf("argument {%s} names no kind", s)
		}
	}
	return p, nil
}

type langKey struct{}

// WithLang returns a context whose texts are in lang; an unknown language means
// the default.
func WithLang(ctx context.Context, lang string) context.Context {
	if lang != English {
		lang = Korean
	}
	return context.WithValue(ctx, langKey{}, lang)
}

// Lang is the language of the context, "ko" or "en".
func Lang(ctx context.Context) string {
	if lang, ok := ctx.Value(langKey{}).(string); ok {
		return lang
	}
	return Korean
}

var matcher = language.NewMatcher([]language.Tag{language.Korean, language.English})

// Match chooses the language for an Accept-Language header; the default where it has
// neither Korean nor English.
func Match(acceptLanguage string) string {
	tags, _, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil || len(tags) == 0 {
		return Korean
	}
	_, i, confidence := matcher.Match(tags...)
	if confidence == language.No {
		return Korean
	}
	return Langs[i]
}

// Has reports whether the catalogs have the key.
func Has(key string) bool {
	_, ok := koCatalog[key]
	return ok
}

func lookup(ctx context.Context, key string) (text, bool) {
	catalog := koCatalog
	if Lang(ctx) == English {
		catalog = enCatalog
	}
	t, ok := catalog[key]
	return t, ok
}

// T is the text of key in the language of ctx with its arguments. The result for an
// unknown key is the key between ⟦ and ⟧, which tests look for.
func T(ctx context.Context, key string, args ...any) string {
	t, ok := lookup(ctx, key)
	if !ok {
		return "⟦" + key + "⟧"
	}
	if t.parts == nil {
		return t.plain
	}
	return t.fill(ctx, args)
}

// N is the text of key for n things; n is the argument {0}, args follow it.
// English has a second text «key.one» for one thing.
func N(ctx context.Context, key string, n int64, args ...any) string {
	if n == 1 {
		if _, ok := lookup(ctx, key+".one"); ok {
			key += ".one"
		}
	}
	return T(ctx, key, append([]any{Number(n)}, args...)...)
}

func (t text) fill(ctx context.Context, args []any) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.arg < 0 {
			b.WriteString(p.text)
			continue
		}
		value := ""
		if p.arg < len(args) {
			value = fmt.Sprint(args[p.arg])
		}
		switch {
		case p.with != "":
			b.WriteString(value)
			b.WriteString(Particle(value, p.with, p.out))
		case p.kind == "bytes":
			b.WriteString(bytesOf(ctx, value))
		case p.kind == "time":
			b.WriteString(timeOf(ctx, value))
		case p.kind == "lastday":
			b.WriteString(lastDayOf(ctx, value))
		case p.kind == "number":
			b.WriteString(numberOf(value))
		case p.kind != "" && value != "" && Has(p.kind+"."+value):
			b.WriteString(T(ctx, p.kind+"."+value))
		default:
			b.WriteString(typedOf(ctx, p.kind, value))
		}
	}
	return b.String()
}

// typedOf is the text of a word with a volume type, such as volumes_ssd, or the
// value itself where the catalog has no such word.
func typedOf(ctx context.Context, kind, value string) string {
	word, of, typed := strings.Cut(value, "_")
	if kind == "" || !typed || !Has(kind+"."+word) {
		return value
	}
	return T(ctx, kind+"."+word) + " (" + of + ")"
}

type zoneKey struct{}

// WithZone returns a context whose texts have their times in the zone; without it they
// have UTC.
func WithZone(ctx context.Context, zone *time.Location) context.Context {
	return context.WithValue(ctx, zoneKey{}, zone)
}

// timeOf writes a time in Unix microseconds to the minute.
func timeOf(ctx context.Context, value string) string {
	us, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return value
	}
	return time.UnixMicro(us).In(zoneOf(ctx)).Format("2006-01-02 15:04")
}

// lastDayOf writes the day that ends at a time in Unix microseconds.
func lastDayOf(ctx context.Context, value string) string {
	us, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return value
	}
	return time.UnixMicro(us - 1).In(zoneOf(ctx)).Format(time.DateOnly)
}

func zoneOf(ctx context.Context) *time.Location {
	if zone, ok := ctx.Value(zoneKey{}).(*time.Location); ok {
		return zone
	}
	return time.UTC
}

func numberOf(value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return value
	}
	return Number(n)
}

func bytesOf(ctx context.Context, value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return value
	}
	if n < 0 {
		return T(ctx, "common.unknown")
	}
	return Bytes(n)
}
