package handlers

import (
	"strconv"
	"strings"

	"blockconsole/models"
	"blockconsole/views"
)

// quotas are the project's limits as a popup shows them. chosen is the volume type;
// Asked -1 where the size is not known yet.
func quotas(needs []models.QuotaUse, chosen string, base int, known bool) []views.Quota {
	var all []views.Quota
	for _, n := range needs {
		q := views.Quota{What: n.What, Used: n.Used, Limit: n.Limit, Asked: n.Asked, PerGiB: n.PerGiB, Type: n.Type,
			Hidden: n.Type != "" && n.Type != chosen}
		if n.PerGiB {
			q.Base = base
			if !known {
				q.Asked = -1
			}
		}
		all = append(all, q)
	}
	return all
}

// typedGiB is the size as typed, as far as it is one.
func typedGiB(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
