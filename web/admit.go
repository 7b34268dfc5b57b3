package web

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/web/admission"
	"blockconsole/web/config"
)

// defaultConns is how many connections are served at once where nobody has divided the
// descriptors.
const defaultConns = 1000

// Pauses before a refused client should come again.
const (
	crowdedPause = 2 * time.Second  // requests end soon
	cappedPause  = 30 * time.Second // windows are closed by hand
)

// admissions are the caps on what is under way at once: of everybody by kind of
// request, and of one session, person or address.
type admissions struct {
	streams, pages, signIns                                   *admission.Counter // of everybody
	userRequests, sessionStreams, userStreams, addressStreams *admission.Counter
}

func newAdmissions(c *config.Config, conns int) admissions {
	shares := admission.Divide(conns)
	return admissions{
		streams: admission.NewCounter(shares.Streams), pages: admission.NewCounter(shares.Pages), signIns: admission.NewCounter(shares.SignIns),
		// One person alone does not take all pages, however few they are.
		userRequests:   admission.NewCounter(min(c.RequestsPerUser, max(shares.Pages/2, 2))),
		sessionStreams: admission.NewCounter(c.StreamsPerSession), userStreams: admission.NewCounter(c.StreamsPerUser),
		addressStreams: admission.NewCounter(c.StreamsPerAddress),
	}
}

// ticket is the place of a request among those under way.
type ticket struct {
	conn  *admission.Conn
	share *admission.Counter // nil: of a route that always answers
}

const everybody = "" // the key of counters for everybody

var errCrowded = &models.Error{Code: models.CodeUnavailable, Text: models.NewText("error.crowded")}

func (t *ticket) enter(c echo.Context) error {
	if t.share != nil && !t.share.Enter(everybody) {
		handlers.SetRetryAfter(c, crowdedPause)
		return errCrowded
	}
	t.conn.Busy()
	return nil
}

func (t *ticket) leave() {
	if t.share != nil {
		t.share.Leave(everybody)
	}
	t.conn.Wait()
}

const ticketKey = "ticket"

// admit lets so many requests be under way that there is always a connection for who
// asks how the console is, and, of pages, for who signs in.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		t := &ticket{conn: admission.ConnOf(c.Request().Context()), share: s.admissions.pages}
		switch {
		case isPublic(c):
			t.share = nil
		case c.Path() == loginPath:
			t.share = s.admissions.signIns
		case isStream(c):
			t.share = s.admissions.streams
		}
		if err := t.enter(c); err != nil {
			return err
		}
		defer func() { t.leave() }()
		c.Set(ticketKey, t)
		return next(c)
	}
}

// whileWaiting runs read, which waits for the client. Meanwhile the request has no place
// among those under way, and its connection may have to give way.
func whileWaiting(c echo.Context, read func() error) error {
	t, ok := c.Get(ticketKey).(*ticket)
	if !ok {
		return read()
	}
	t.leave()
	err := read()
	if enterErr := t.enter(c); enterErr != nil {
		*t = ticket{} // there is nothing to leave
		return enterErr
	}
	return err
}

// personalCap is a cap on what one key, of a session, a person or an address, has under way.
type personalCap struct {
	counter   *admission.Counter
	key, text string
}

func (s *Server) capsOf(c echo.Context, in *models.SignedIn) []personalCap {
	a := &s.admissions
	if !isStream(c) {
		return []personalCap{{a.userRequests, in.UserID, "error.capped.requests"}}
	}
	address := c.RealIP()
	if ip, err := netip.ParseAddr(address); err == nil {
		address = admission.AddressKey(ip)
	}
	return []personalCap{
		{a.sessionStreams, in.ID, "error.capped.session"}, {a.userStreams, in.UserID, "error.capped.user"}, {a.addressStreams, address, "error.capped.address"},
	}
}

// limit caps what one session, one person and one address have under way.
func (s *Server) limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		in := handlers.RequestOf(c).SignedIn
		if in == nil {
			return next(c)
		}
		for _, of := range s.capsOf(c, in) {
			if !of.counter.Enter(of.key) {
				handlers.SetRetryAfter(c, cappedPause)
				return &models.Error{Code: models.CodeThrottled, Text: models.NewText(of.text, strconv.Itoa(of.counter.Max()))}
			}
			defer of.counter.Leave(of.key)
		}
		return next(c)
	}
}
