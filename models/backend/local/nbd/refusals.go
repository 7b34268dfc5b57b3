package nbd

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Refusal is why a client was turned away.
type Refusal string

const (
	RefusedAddress     Refusal = "address"     // Server.Admit
	RefusedConnections Refusal = "connections" // Server.MaxConns or ExportOptions.MaxConns
	RefusedHandshakes  Refusal = "handshakes"  // too many from its address, or too long before its turn
	RefusedNegotiation Refusal = "negotiation" // it broke the protocol, fell silent or left
	RefusedTLS         Refusal = "tls"         // TLS or its certificate
	RefusedExport      Refusal = "export"      // there is none of that name for it, or it cannot be opened
)

const (
	refusalInterval = 10 * time.Second // between lines of the log about one reason and address
	maxRefusals     = 1024             // reasons and addresses that are remembered
)

// refusals tells of clients that are turned away: Server.OnRefused of each, the log
// of each reason and address once in a while, with how many there were since. A
// client that tries again and again must not fill the log.
type refusals struct {
	mu     sync.Mutex
	recent map[refusal]*repetition
}

type refusal struct {
	why  Refusal
	addr netip.Addr
}

type repetition struct {
	loggedAt time.Time
	since    int // refusals that were not logged
}

// refuse counts and logs that a client was turned away.
func (s *Server) refuse(why Refusal, peer Peer, err error) {
	if s.OnRefused != nil {
		s.OnRefused(why)
	}
	repeated, due := s.refusals.add(refusal{why, peer.Addr.Addr()}, s.Now())
	if !due {
		return
	}
	level := slog.LevelWarn
	if why == RefusedNegotiation { // also whoever only looks whether the port is open
		level = slog.LevelInfo
	}
	args := []any{"reason", string(why), "addr", peer.Addr, "error", err}
	if peer.Certificate != nil {
		args = append(args, "subject", peer.Certificate.Subject)
	}
	if repeated > 0 {
		args = append(args, slog.Int("repeated", repeated))
	}
	s.Log.Log(context.Background(), level, "nbd client refused", args...)
}

// add reports whether a line is due, and how many refusals like it had none.
func (r *refusals) add(key refusal, now time.Time) (repeated int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.recent[key]
	if last != nil && now.Sub(last.loggedAt).Abs() < refusalInterval {
		last.since++
		return 0, false
	}
	if last != nil {
		repeated = last.since
	} else if len(r.recent) >= maxRefusals || r.recent == nil {
		r.recent = map[refusal]*repetition{}
	}
	r.recent[key] = &repetition{loggedAt: now}
	return repeated, true
}
