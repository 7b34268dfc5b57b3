package models

import (
	"net/netip"
	"slices"
	"strings"
)

// Limits of servers registered here.
const (
	ServerNameMaxBytes = 64
	// ServerNamePattern is the rule for an input's pattern attribute.
	ServerNamePattern = `[A-Za-z0-9._\-]{1,64}`
	// AddressesMax is how many addresses and networks a server may have.
	AddressesMax     = 32
	addressSeparator = ", "
)

// ValidateServerName says what is wrong with the name of a server registered
// here: 1 to 64 bytes of letters, digits, dot, dash and underscore, as names of
// hosts and certificates are made; nil when nothing is.
func ValidateServerName(name string) *Text {
	if len(name) < 1 || len(name) > ServerNameMaxBytes {
		return &Text{Key: "server.name_invalid"}
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_') {
			return &Text{Key: "server.name_invalid"}
		}
	}
	return nil
}

// ParseAddresses reads the addresses and networks of a server as typed, separated
// by commas, and returns them as they are stored: each once, in the shortest
// writing. IPv4 written as IPv6 is IPv4; an address with a zone is none, for
// others cannot know the zone.
func ParseAddresses(typed string) (string, *Text) {
	var all []string
	for word := range strings.SplitSeq(typed, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		address, wrong := parseAddress(word)
		if wrong != nil {
			return "", wrong
		}
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	switch {
	case len(all) == 0:
		return "", &Text{Key: "server.address_required"}
	case len(all) > AddressesMax:
		return "", &Text{Key: "server.address_many"}
	}
	return strings.Join(all, addressSeparator), nil
}

const maxAddressBytes = 64

func parseAddress(word string) (string, *Text) {
	if len(word) > maxAddressBytes {
		word = Sanitize(word)
		return "", &Text{Key: "server.address_invalid", Args: []string{string([]rune(word)[:min(maxAddressBytes, len([]rune(word)))]) + "…"}}
	}
	if ip, err := netip.ParseAddr(word); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return "", &Text{Key: "server.address_nobody", Args: []string{word}}
		}
		return ip.String(), nil
	}
	network, err := netip.ParsePrefix(word)
	if err != nil {
		return "", &Text{Key: "server.address_invalid", Args: []string{Sanitize(word)}}
	}
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	if network != network.Masked() { // it may mean the machine or its network
		return "", &Text{Key: "server.address_host_bits", Args: []string{word, network.Addr().String(), network.Masked().String()}}
	}
	if network.IsSingleIP() {
		return network.Addr().String(), nil
	}
	return network.String(), nil
}

// Addresses are the addresses and networks of a server registered here.
func (s *Server) Addresses() []string {
	if s.Address == "" {
		return nil
	}
	return strings.Split(s.Address, addressSeparator)
}

// Overlaps names, for each server that shares an address with others, the others:
// by its address alone such a server cannot be told from them.
func Overlaps(servers []Server) map[string][]Link {
	networks := make([][]netip.Prefix, len(servers))
	for i := range servers {
		for _, text := range servers[i].Addresses() {
			if network, ok := asNetwork(text); ok {
				networks[i] = append(networks[i], network)
			}
		}
	}
	shared := map[string][]Link{}
	for i := range servers {
		for j := i + 1; j < len(servers); j++ {
			if overlap(networks[i], networks[j]) {
				shared[servers[i].ID] = append(shared[servers[i].ID], servers[j].Link())
				shared[servers[j].ID] = append(shared[servers[j].ID], servers[i].Link())
			}
		}
	}
	return shared
}

func asNetwork(text string) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	network, err := netip.ParsePrefix(text)
	return network, err == nil
}

func overlap(a, b []netip.Prefix) bool {
	return slices.ContainsFunc(a, func(x netip.Prefix) bool { return slices.ContainsFunc(b, x.Overlaps) })
}
