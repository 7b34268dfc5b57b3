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

// serversTTL is how long the list of registered servers is believed for those
// who connect, so that a stranger who knocks again and again asks the console's
// database once.
const serversTTL = time.Second

// fetchTimeout bounds one question to the console.
const fetchTimeout = 5 * time.Second

// serverRegistry remembers which servers the console has registered.
type serverRegistry struct {
	fetch func(context.Context) ([]backend.RegisteredServer, error)
	now   func() time.Time

	mu        sync.Mutex
	fetchedAt time.Time
	byID      map[string]registeredServer

	latest atomic.Pointer[map[string]registeredServer] // byID, for who must not wait
}

// registeredServer is a server with its addresses understood.
type registeredServer struct {
	backend.RegisteredServer
	networks []netip.Prefix
}

// serverRegistry lists the registered servers by ID. When the console does not answer,
// the last list counts, if there is one.
func (r *serverRegistry) list(ctx context.Context) (map[string]registeredServer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID != nil && r.now().Sub(r.fetchedAt).Abs() < serversTTL {
		return r.byID, nil
	}
	err := r.refreshLocked(ctx)
	if r.byID != nil {
		return r.byID, nil
	}
	return nil, err
}

// lookup asks anew, since somebody is about to rely on the answer.
// [backend.CodeInvalid]: there is no such server.
func (r *serverRegistry) lookup(ctx context.Context, id string) (registeredServer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refreshLocked(ctx); err != nil {
		return registeredServer{}, &backend.Error{Code: backend.CodeUnavailable, Err: err}
	}
	s, ok := r.byID[id]
	if !ok {
		return registeredServer{}, &backend.Error{Code: backend.CodeInvalid, Field: "server", Message: "no such server"}
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

// currentName is what the server is called now, as far as is known.
func (r *serverRegistry) currentName(id, otherwise string) string {
	if all := r.latest.Load(); all != nil {
		if s, ok := (*all)[id]; ok {
			return s.Name
		}
	}
	return otherwise
}

// parseNetworks understands addresses and networks. What is neither lets nobody in.
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

// canonical is an address as the networks have it: IPv4 in its own form, and without
// the name of the interface it came by.
func canonical(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// hasAddress says that the server may come from that address.
func (s registeredServer) hasAddress(a netip.Addr) bool {
	a = canonical(a)
	return slices.ContainsFunc(s.networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isPeer says that the peer is this server: by its address and, over TLS, by the name
// in its certificate too.
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
