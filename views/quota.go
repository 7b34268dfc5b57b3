package views

import "context"

// barWidth is the width of a quota's bar in units of its drawing.
const barWidth = 1000

func (q Quota) over() bool { return q.Asked > 0 && q.Used+q.Asked > q.Limit }

// part is how much of the bar an amount fills, at most what is left beside start.
func (q Quota) part(amount, start int64) int64 {
	if q.Limit <= 0 {
		return barWidth - start
	}
	return max(0, min(amount*barWidth/q.Limit, barWidth-start))
}

func (q Quota) usedPart() int64  { return q.part(q.Used, 0) }
func (q Quota) askedPart() int64 { return q.part(q.Asked, q.usedPart()) }

// now is the value of the meter: it never says more than its end.
func (q Quota) now() int64 { return min(q.Used+max(q.Asked, 0), q.end()) }

// end is the meter's end; one of nothing at all would be no meter.
func (q Quota) end() int64 { return max(q.Limit, 1) }

func (q Quota) asked() string {
	if q.Asked < 0 {
		return "—"
	}
	return numberOf(q.Asked)
}

func (q Quota) per() string {
	if q.PerGiB {
		return "gib"
	}
	return "one"
}

func (q Quota) name(ctx context.Context) string { return tr(ctx, "quota.name", q.What) }

// figures are the words around the amount that is asked for.
func (q Quota) figures(ctx context.Context) (ahead, behind string) {
	return around(ctx, "quota.figures", numberOf(q.Used), middle, numberOf(q.Limit))
}
