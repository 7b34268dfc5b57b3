package handlers

import (
	"encoding/csv"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

// IsHTMX says that htmx sent the request.
func IsHTMX(c echo.Context) bool { return c.Request().Header.Get("HX-Request") == "true" }

// IsFragment says that htmx asked for a part of the page.
func IsFragment(c echo.Context) bool {
	h := c.Request().Header
	return h.Get("HX-Request") == "true" && h.Get("HX-Boosted") != "true" && h.Get("HX-History-Restore-Request") != "true"
}

// Format is the media type of an answer.
type Format string

// The formats.
const (
	HTML   Format = "text/html"
	JSON   Format = "application/json"
	CSV    Format = "text/csv"
	Events Format = "text/event-stream"
)

// Wants is the format that the Accept header prefers; HTML where it takes anything.
func Wants(c echo.Context) Format {
	best, bestQ, bestRank := HTML, 0.0, -1
	for part := range strings.SplitSeq(strings.Join(c.Request().Header.Values(echo.HeaderAccept), ","), ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		format, rank := formatOf(media)
		if format == "" {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || q <= 0 {
				continue
			}
		}
		// Of equal q the named type beats the wildcard, then the first one wins.
		if q > bestQ || (q == bestQ && rank > bestRank) {
			best, bestQ, bestRank = format, q, rank
		}
	}
	return best
}

func formatOf(media string) (Format, int) {
	switch media {
	case "text/html", "application/xhtml+xml":
		return HTML, 2
	case string(JSON), string(CSV), string(Events):
		return Format(media), 2
	case "text/*":
		return HTML, 1
	case "application/*":
		return JSON, 1
	case "*/*":
		return HTML, 0
	}
	return "", 0
}

// wantsCSV says that CSV was asked for, by Accept or by the page's link
// (?format=csv).
func wantsCSV(c echo.Context) bool { return Wants(c) == CSV || c.QueryParam("format") == "csv" }

// csvBatch is how many rows an export reads at once.
const csvBatch = 1000

// streamCSV sends the whole filtered list, batch by batch.
func streamCSV[T any](c echo.Context, s *listState, name string, head []string,
	read func(models.ListQuery) (models.Page[T], error), record func(*T) []string) error {
	if s.invalid != nil {
		return s.invalid
	}
	q := s.query
	q.Size = csvBatch
	page, err := read(q)
	if err != nil {
		return err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/csv; charset=utf-8")
	header.Set(echo.HeaderContentDisposition, `attachment; filename="`+name+`.csv"`)
	Vary(c)
	c.Response().WriteHeader(http.StatusOK)
	if _, err := c.Response().Write([]byte("\xef\xbb\xbf")); err != nil { // so that spreadsheets read UTF-8
		return err
	}
	w := csv.NewWriter(c.Response())
	if err := w.Write(head); err != nil {
		return err
	}
	for {
		for i := range page.Rows {
			if err := w.Write(escapeFormulas(record(&page.Rows[i]))); err != nil {
				return err
			}
		}
		w.Flush()
		c.Response().Flush()
		if page.Next == "" || w.Error() != nil {
			return w.Error()
		}
		q.After, q.Before = page.Next, ""
		if page, err = read(q); err != nil {
			return err
		}
	}
}

// escapeFormulas puts an apostrophe before cells that a spreadsheet would compute.
func escapeFormulas(record []string) []string {
	for i, cell := range record {
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			record[i] = "'" + cell
		}
	}
	return record
}
