package handlers

import (
	"errors"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

// formVersion is the version of the row that the form was made from; 0: not sent.
func formVersion(c echo.Context) int64 {
	n, err := strconv.ParseInt(c.FormValue("version"), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func isStale(err error) bool { return errors.Is(err, &models.Error{Code: models.CodeStale}) }

// resetTo are the statuses that the form «복구» offers; any other is none.
var resetTo = map[string]models.Status{"": models.ErrorStatus, "error": models.ErrorStatus, "available": models.Available}

// repairInput reads the administrator's form «복구».
func repairInput(c echo.Context) models.RepairInput {
	return models.RepairInput{ID: c.Param("id"), Reason: c.FormValue("reason"), ResetTo: resetTo[c.FormValue("reset_to")], FormKey: c.FormValue("form_key")}
}

// here is the time of day where the console's times are shown.
func here(c echo.Context) time.Time {
	site := VisitOf(c).Site
	zone, err := time.LoadLocation(site.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	return site.Now().In(zone)
}
