package openstack

import (
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// timestamp is a time of an answer, in UTC with or without a Z. What cannot be parsed is
// zero: one odd object must not make its page unreadable.
type timestamp struct{ time.Time }

func (s *timestamp) UnmarshalJSON(text []byte) error {
	value := strings.TrimSuffix(strings.Trim(string(text), `"`), "Z")
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", time.RFC3339Nano} {
		if t, err := time.Parse(layout, value); err == nil {
			s.Time = t.UTC()
			return nil
		}
	}
	s.Time = time.Time{}
	return nil
}

// readIssuedAt sets the clock skew from the time in a new token.
func (b *Backend) readIssuedAt(result tokens.CreateResult) {
	var t struct {
		IssuedAt time.Time `json:"issued_at"`
	}
	if result.ExtractInto(&t) == nil && !t.IssuedAt.IsZero() {
		b.setCloudClock(t.IssuedAt)
	}
}

// setCloudClock sets the clock skew; now is the present time by the cloud's clock.
func (b *Backend) setCloudClock(now time.Time) { b.clockSkew.Store(int64(now.Sub(b.now()))) }

// cloudTime converts a time of our clock to the cloud's clock, in UTC.
func (b *Backend) cloudTime(t time.Time) time.Time {
	return t.Add(time.Duration(b.clockSkew.Load())).UTC()
}

// localTime converts a time of the cloud's clock to our clock; zero stays zero.
func (b *Backend) localTime(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-time.Duration(b.clockSkew.Load()))
}
