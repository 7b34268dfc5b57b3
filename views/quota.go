package views

import "context"

// Quota is a limit of the project and how much of it the form requests.
type Quota struct {
	Resource    string // the storage's resource: volumes, snapshots, gigabytes, gigabytes_ssd, …
	Used, Limit int64
	Requested   int64  // by the form; -1: not chosen yet
	PerGiB      bool   // Asked depends on the size
	CurrentGiB  int    // current GiB of a volume that is extended
	Type        string // volume type; empty: any
	Hidden      bool   // another volume type is chosen
}

// barWidth is the width of the bar in units of its viewBox.
const barWidth = 1000

func (q Quota) exceeded() bool { return q.Requested > 0 && q.Used+q.Requested > q.Limit }

// barPart is the width of an amount in the bar, at most what is left after start.
func (q Quota) barPart(amount, start int64) int64 {
	if q.Limit <= 0 {
		return barWidth - start
	}
	return max(0, min(amount*barWidth/q.Limit, barWidth-start))
}

func (q Quota) usedWidth() int64 { return q.barPart(q.Used, 0) }

func (q Quota) requestedWidth() int64 { return q.barPart(q.Requested, q.usedWidth()) }

// meterValue never exceeds meterMax.
func (q Quota) meterValue() int64 { return min(q.Used+max(q.Requested, 0), q.meterMax()) }

// meterMax is at least 1, as a meter of range 0 is invalid.
func (q Quota) meterMax() int64 { return max(q.Limit, 1) }

func (q Quota) requestedText() string {
	if q.Requested < 0 {
		return "—"
	}
	return formatNumber(q.Requested)
}

func (q Quota) perUnit() string {
	if q.PerGiB {
		return "gib"
	}
	return "one"
}

func (q Quota) name(ctx context.Context) string { return tr(ctx, "quota.name", q.Resource) }

// figureTexts are the texts before and after the requested amount.
func (q Quota) figureTexts(ctx context.Context) (ahead, behind string) {
	return textAround(ctx, "quota.figures", formatNumber(q.Used), placeholder, formatNumber(q.Limit))
}
