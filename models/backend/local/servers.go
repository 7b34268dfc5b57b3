package local

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/nbd"
)

const (
	serversTTL   = time.Second     // age of the list for connections, so that many of them cause one query
	fetchTimeout = 5 * time.Second // for one query of the console
)

// serverRegistry caches the servers that are registered in the console.
type serverRegistry struct {
	fetch func(context.Context) ([]backend.RegisteredServer, error)
	now   func() time.Time

	mu        sync.Mutex
	fetchedAt time.Time
	byID      map[string]registeredServer

	latest atomic.Pointer[map[string]registeredServer] // byID, for callers that must not wait for mu
}

// registeredServer is a server with its addresses parsed.
type registeredServer struct {
	backend.RegisteredServer
	networks []netip.Prefix
}

// list returns the registered servers by ID; the last known ones where the console does
// not answer. The error is the console's, when it has never answered.
func (r *serverRegistry) list(ctx context.Context) (map[string]registeredServer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID != nil && r.now().Sub(r.fetchedAt).Abs() < serversTTL {
		return r.byID, nil
	}
	err := r.refreshLocked(ctx)
	if r.byID == nil {
		return nil, err
	}
	r.fetchedAt = r.now() // also after an error: clients must not wait for a console that hangs one after the other
	return r.byID, nil
}

// refresh asks the console. The error is the console's.
func (r *serverRegistry) refresh(ctx context.Context) (map[string]registeredServer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.refreshLocked(ctx)
	return r.byID, err
}

// lookup asks the console, since the answer decides on an attachment. Errors:
// CodeInvalid when the server is not registered, CodeUnavailable.
func (r *serverRegistry) lookup(ctx context.Context, id string) (registeredServer, error) {
	servers, err := r.refresh(ctx)
	if err != nil {
		return registeredServer{}, &backend.Error{Code: backend.CodeUnavailable, Err: err}
	}
	s, ok := servers[id]
	if !ok {
		return registeredServer{}, &backend.Error{Code: backend.CodeInvalid, Field: "server", Why: backend.WhyNoServer, Message: "no such server"}
	}
	return s, nil
}

func (r *serverRegistry) refreshLocked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	list, err := r.fetch(ctx)
	if err != nil {
		return fmt.Errorf("registered servers: %w", err)
	}
	byID := make(map[string]registeredServer, len(list))
	for _, s := range list {
		byID[s.ID] = registeredServer{s, parseNetworks(s.Addresses)}
	}
	r.byID, r.fetchedAt = byID, r.now()
	r.latest.Store(&byID)
	return nil
}

// lastKnown are the registered servers as the console answered last, without asking it.
func (r *serverRegistry) lastKnown() map[string]registeredServer {
	if all := r.latest.Load(); all != nil {
		return *all
	}
	return nil
}

// currentName is the server's last known name.
func (r *serverRegistry) currentName(id, otherwise string) string {
	if s, ok := r.lastKnown()[id]; ok {
		return s.Name
	}
	return otherwise
}

// parseNetworks parses addresses and networks, and ignores everything else.
func parseNetworks(addresses []string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range addresses {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, err := netip.ParseAddr(text)
			if err != nil {
				continue
			}
			a = canonical(a)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked())
	}
	return all
}

// canonical returns an address without IPv4-in-IPv6 form and without zone.
func canonical(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// hasAddress reports whether the server may connect from the address.
func (s registeredServer) hasAddress(a netip.Addr) bool {
	a = canonical(a)
	return slices.ContainsFunc(s.networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isPeer reports whether the peer is this server: by its address and, over TLS, also
// by the name in its certificate.
func (s registeredServer) isPeer(peer nbd.Peer, overTLS bool) bool {
	return s.hasAddress(peer.Addr.Addr()) && (!overTLS || certificateNames(peer.Certificate, s.Name))
}

func certificateNames(c *x509.Certificate, name string) bool {
	if c == nil || name == "" {
		return false
	}
	return c.Subject.CommonName == name ||
		slices.ContainsFunc(c.DNSNames, func(dns string) bool { return strings.EqualFold(dns, name) })
}
