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

// serversFresh is how long the list of registered servers is believed for those
// who connect, so that a stranger who knocks again and again asks the console's
// database once.
const serversFresh = time.Second

// askTime bounds one question to the console.
const askTime = 5 * time.Second

// registry remembers which servers the console has registered.
type registry struct {
	ask func(context.Context) ([]backend.RegisteredServer, error)
	now func() time.Time

	mu    sync.Mutex
	asked time.Time
	byID  map[string]registered

	last atomic.Pointer[map[string]registered] // byID, for who must not wait
}

// registered is a server with its addresses understood.
type registered struct {
	backend.RegisteredServer
	networks []netip.Prefix
}

// servers lists the registered servers by ID. When the console does not answer,
// the last list counts, if there is one.
func (r *registry) servers(ctx context.Context) (map[string]registered, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID != nil && r.now().Sub(r.asked).Abs() < serversFresh {
		return r.byID, nil
	}
	err := r.refreshLocked(ctx)
	if r.byID != nil {
		return r.byID, nil
	}
	return nil, err
}

// find asks anew, since somebody is about to rely on the answer.
// [backend.CodeInvalid]: there is no such server.
func (r *registry) find(ctx context.Context, id string) (registered, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.refreshLocked(ctx); err != nil {
		return registered{}, &backend.Error{Code: backend.CodeUnavailable, Err: err}
	}
	s, ok := r.byID[id]
	if !ok {
		return registered{}, &backend.Error{Code: backend.CodeInvalid, Field: "server", Message: "no such server"}
	}
	return s, nil
}

func (r *registry) refreshLocked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	list, err := r.ask(ctx)
	if err != nil {
		return fmt.Errorf("registered servers: %w", err)
	}
	byID := make(map[string]registered, len(list))
	for _, s := range list {
		byID[s.ID] = registered{s, networks(s.Addresses)}
	}
	r.byID, r.asked = byID, r.now()
	r.last.Store(&byID)
	return nil
}

// name is what the server is called now, as far as is known.
func (r *registry) name(id, otherwise string) string {
	if all := r.last.Load(); all != nil {
		if s, ok := (*all)[id]; ok {
			return s.Name
		}
	}
	return otherwise
}

// networks understands addresses and networks. What is neither lets nobody in.
func networks(addresses []string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range addresses {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, err := netip.ParseAddr(text)
			if err != nil {
				continue
			}
			a = plain(a)
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked())
	}
	return all
}

// plain is an address as the networks have it: IPv4 in its own form, and without
// the name of the interface it came by.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// at says that the server may come from that address.
func (s registered) at(a netip.Addr) bool {
	a = plain(a)
	return slices.ContainsFunc(s.networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// is says that the peer is this server: by its address and, over TLS, by the name
// in its certificate too.
func (s registered) is(peer nbd.Peer, overTLS bool) bool {
	return s.at(peer.Addr.Addr()) && (!overTLS || named(peer.Certificate, s.Name))
}

func named(c *x509.Certificate, name string) bool {
	if c == nil || name == "" {
		return false
	}
	return c.Subject.CommonName == name ||
		slices.ContainsFunc(c.DNSNames, func(dns string) bool { return strings.EqualFold(dns, name) })
}
