package views

import (
	"context"
	"sync"
	"time"

	"blockconsole/views/i18n"
)

var zones sync.Map // IANA name -> *time.Location

// location is the time zone of displayed times; UTC for an unknown name.
func location(ctx context.Context) *time.Location {
	name := PageContextOf(ctx).TimeZone
	if l, ok := zones.Load(name); ok {
		return l.(*time.Location)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		l = time.UTC
	}
	zones.Store(name, l)
	return l
}

func localTime(ctx context.Context, us int64) time.Time { return time.UnixMicro(us).In(location(ctx)) }

// format writes a local time, with its offset where another instant has the same local
// time: when summer time ends, an hour comes twice.
func format(ctx context.Context, us int64, layout string) string {
	at := localTime(ctx, us)
	if comesTwice(at) {
		layout += " -07:00"
	}
	return at.Format(layout)
}

// comesTwice reports whether clocks of the zone show this time again, or have shown it
// before, because they are set back.
func comesTwice(at time.Time) bool {
	begin, end := at.ZoneBounds()
	_, offset := at.Zone()
	if !end.IsZero() {
		_, next := end.Zone()
		if end.Sub(at) <= time.Duration(offset-next)*time.Second {
			return true
		}
	}
	if begin.IsZero() {
		return false
	}
	_, previous := begin.Add(-time.Nanosecond).Zone()
	return at.Sub(begin) < time.Duration(previous-offset)*time.Second
}

func formatMinute(ctx context.Context, us int64) string { return format(ctx, us, "2006-01-02 15:04") }

func formatSecond(ctx context.Context, us int64) string {
	return format(ctx, us, "2006-01-02 15:04:05")
}

// formatLastDay writes the day that ends at a time.
func formatLastDay(ctx context.Context, us int64) string {
	return localTime(ctx, us-1).Format(time.DateOnly)
}

func formatClock(ctx context.Context, us int64) string { return format(ctx, us, "15:04:05") }

func formatWithOffset(ctx context.Context, us int64) string {
	return localTime(ctx, us).Format("2006-01-02 15:04:05 -07:00")
}

func formatRFC3339(ctx context.Context, us int64) string {
	return localTime(ctx, us).Format(time.RFC3339)
}

// formatAge is the age at PageContext.Now, or the time itself without Now.
func formatAge(ctx context.Context, us int64) string {
	now := PageContextOf(ctx).Now
	if now == 0 {
		return formatSecond(ctx, us)
	}
	return i18n.Ago(ctx, time.UnixMicro(us), time.UnixMicro(now))
}

// formatDuration writes microseconds as mm:ss or h:mm:ss.
func formatDuration(us int64) string {
	s := max(us, 0) / 1e6
	pad := func(n int64) string {
		if n < 10 {
			return "0" + itoa64(n)
		}
		return itoa64(n)
	}
	if s < 3600 {
		return pad(s/60) + ":" + pad(s%60)
	}
	return itoa64(s/3600) + ":" + pad(s/60%60) + ":" + pad(s%60)
}

// formatMilliseconds writes microseconds as ms.
func formatMilliseconds(us int64) string {
	if us < 10_000 {
		return itoa64(us/1000) + "." + itoa64(us%1000/100) + " ms"
	}
	return i18n.Number(us/1000) + " ms"
}
