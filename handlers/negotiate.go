package handlers

import (
	"mime"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
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
