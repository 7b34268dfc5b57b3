// Package spreadsheet writes CSV that programs read and that people open in Excel or
// LibreOffice: no cell of it is computed there.
package spreadsheet

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// MediaType is the type of what a Writer writes.
const MediaType = "text/csv; charset=utf-8"

// Writer writes records in RFC 4180, in UTF-8 with a byte order mark, without which
// spreadsheets take another encoding. Errors come from Flush.
type Writer struct {
	w    *bufio.Writer
	zone *time.Location
}

// NewWriter makes a Writer; times are written in the zone.
func NewWriter(w io.Writer, zone *time.Location) *Writer {
	buffered := bufio.NewWriter(w)
	_, _ = buffered.WriteString("\ufeff")
	return &Writer{buffered, zone}
}

// Write writes a record. A text is never computed, a time is in RFC 3339 with
// its offset, anything else as fmt prints it.
func (w *Writer) Write(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			_ = w.w.WriteByte(',')
		}
		switch cell := cell.(type) {
		case string:
			_, _ = w.w.WriteString(quoted(cell))
		case time.Time:
			_, _ = w.w.WriteString(cell.In(w.zone).Format(time.RFC3339))
		default:
			_, _ = fmt.Fprint(w.w, cell)
		}
	}
	_ = w.w.WriteByte('\n')
}

// Flush sends what was written. Errors: those of the writer below.
func (w *Writer) Flush() error { return w.w.Flush() }

// quoted is a text as the file has it: in quotes unless it is plain everywhere.
func quoted(text string) string {
	inert := asText(text)
	if inert == text && !strings.ContainsAny(text, ",;|\"\t\r\n") && strings.TrimSpace(text) == text {
		return text
	}
	return `"` + strings.ReplaceAll(inert, `"`, `""`) + `"`
}

// What a spreadsheet computes: a sign that begins a formula, in half and in full width,
// also behind what it skips. Where the list separator is a semicolon, or a bar, it
// divides cells there, whatever is quoted, and a line end then begins a new record.
const (
	signs   = `[=+\-@＝＋－＠﹦﹢﹣﹫−]`
	skipped = `[\s\p{Z}\p{Cf}\p{Cc};|"]*`
)

var (
	computedAtStart = regexp.MustCompile(`^(?:[\t\r\n]|` + skipped + signs + `)`)
	computedInside  = regexp.MustCompile(`([;|\n]` + skipped + `)(` + signs + `)`)
)

// asText puts an apostrophe before a cell that a spreadsheet would compute, and before
// each sign at which a part of it would be.
func asText(cell string) string {
	inert := cell
	if strings.ContainsAny(cell, ";|\n") {
		inert = computedInside.ReplaceAllString(cell, "$1'$2")
	}
	if inert != cell || computedAtStart.MatchString(cell) {
		return "'" + inert
	}
	return cell
}
