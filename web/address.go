package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

// clientAddress finds where a request comes from: the last address of X-Forwarded-For
// that no trusted proxy has, read backwards from the connection. Echo's own extractor
// believes anybody unless told, and gives up at the ports that some proxies add.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	isTrusted := func(ip netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	return func(r *http.Request) string {
		ip, ok := parseHop(r.RemoteAddr)
		if !ok {
			return r.RemoteAddr
		}
		hops := strings.Split(strings.Join(r.Header.Values(echo.HeaderXForwardedFor), ","), ",")
		for _, hop := range slices.Backward(hops) {
			if hop = strings.TrimSpace(hop); hop == "" {
				continue
			}
			before, ok := parseHop(hop)
			if !ok || !isTrusted(ip) {
				break
			}
			ip = before
		}
		return ip.String()
	}
}

// parseHop reads an address with or without a port, and with or without the brackets of
// IPv6.
func parseHop(hop string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(strings.Trim(hop, "[]"))
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(hop)
		ip = withPort.Addr()
	}
	return ip.Unmap().WithZone(""), err == nil
}

// host refuses requests to another name than that of PUBLIC_URL, where it is set: a
// page of another site could otherwise reach the console under a name of its own (DNS
// rebinding). Health is asked by machines that know an address alone.
func (s *Server) host(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		public := s.config.PublicURL
		if public == nil || isHealth(c) || sameHost(c.Request().Host, public) {
			return next(c)
		}
		refused := &models.Error{Code: models.CodeMisdirected, Text: models.NewText("error.421", public.String())}
		return errors.Join(refused, fmt.Errorf("the host is %q", c.Request().Host))
	}
}

// sameHost says that the header Host names the host and port of u.
func sameHost(host string, u *url.URL) bool {
	return strings.EqualFold(withPort(host, u.Scheme), withPort(u.Host, u.Scheme))
}

func withPort(host, scheme string) string {
	u := url.URL{Host: host}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return net.JoinHostPort(strings.TrimSuffix(u.Hostname(), "."), port)
}
