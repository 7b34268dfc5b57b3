package handlers

import (
	"encoding/csv"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

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
