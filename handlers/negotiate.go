package handlers

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers/spreadsheet"
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
	read func(models.ListQuery) (models.Page[T], error), record func(*T) []any) error {
	if s.invalid != nil {
		return s.invalid
	}
	q := s.query
	q.Size = csvBatch
	page, err := read(q)
	if err != nil {
		return err
	}
	w := startCSV(c, name, head)
	for {
		for i := range page.Rows {
			w.Write(record(&page.Rows[i])...)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		c.Response().Flush()
		if page.Next == "" {
			return nil
		}
		q.After, q.Before = page.Next, ""
		if page, err = read(q); err != nil {
			return err
		}
	}
}

// startCSV begins the answer with a file of that name and the line of column names.
func startCSV(c echo.Context, name string, head []string) *spreadsheet.Writer {
	startDownload(c, name+".csv", spreadsheet.MediaType)
	w := spreadsheet.NewWriter(c.Response(), zoneOf(c))
	columns := make([]any, len(head))
	for i, column := range head {
		columns[i] = column
	}
	w.Write(columns...)
	return w
}

func startDownload(c echo.Context, name, mediaType string) {
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, mediaType)
	header.Set(echo.HeaderContentDisposition, `attachment; filename="`+name+`"`)
	Vary(c)
	c.Response().WriteHeader(http.StatusOK)
}
