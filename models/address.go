package models

import (
	"net/netip"
	"slices"
	"strings"
)

// Limits of servers registered in the console.
const (
	ServerNameMaxBytes = 64
	// ServerNamePattern is the rule for an input's pattern attribute.
	ServerNamePattern = `[A-Za-z0-9._\-]{1,64}`
	// AddressesMax is the largest number of addresses and networks of a server.
	AddressesMax     = 32
	addressSeparator = ", "
)

// ValidateServerName returns what is wrong with the name of a registered server, or
// nil. A name is 1 to 64 bytes of letters, digits, dot, dash and underscore, as in
// host names and certificates.
func ValidateServerName(name string) *Text {
	if len(name) < 1 || len(name) > ServerNameMaxBytes {
		return refuseName(name, "server.name_invalid")
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_') {
			return refuseName(name, "server.name_invalid")
		}
	}
	return nil
}

// ParseAddresses parses the addresses and networks of a server, typed with commas
// between them, and returns them as they are stored: without duplicates, each in its
// shortest form. IPv4 in IPv6 notation becomes IPv4. An IPv6 zone is refused: it has
// a meaning on one machine only.
func ParseAddresses(typed string) (string, *Text) {
	var addresses []string
	for word := range strings.SplitSeq(typed, ",") {
		word = TrimSpace(word)
		if word == "" {
			continue
		}
		address, invalid := parseAddress(word)
		if invalid != nil {
			return "", invalid
		}
		if !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	switch {
	case len(addresses) == 0:
		return "", &Text{Key: "server.address_required"}
	case len(addresses) > AddressesMax:
		return "", &Text{Key: "server.address_many"}
	}
	return strings.Join(addresses, addressSeparator), nil
}

const maxAddressBytes = 64

func parseAddress(typed string) (string, *Text) {
	if len(typed) > maxAddressBytes {
		typed = Sanitize(typed)
		return "", &Text{Key: "server.address_invalid", Args: []string{string([]rune(typed)[:min(maxAddressBytes, len([]rune(typed)))]) + "…"}}
	}
	if ip, err := netip.ParseAddr(typed); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return "", &Text{Key: "server.address_nobody", Args: []string{typed}}
		}
		return ip.String(), nil
	}
	network, err := netip.ParsePrefix(typed)
	if err != nil {
		return "", &Text{Key: "server.address_invalid", Args: []string{Sanitize(typed)}}
	}
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	if network != network.Masked() { // ambiguous: the machine, or its network
		return "", &Text{Key: "server.address_host_bits", Args: []string{typed, network.Addr().String(), network.Masked().String()}}
	}
	if network.IsSingleIP() {
		return network.Addr().String(), nil
	}
	return network.String(), nil
}

// Addresses returns the addresses and networks of a registered server.
func (s *Server) Addresses() []string {
	if s.Address == "" {
		return nil
	}
	return strings.Split(s.Address, addressSeparator)
}

// Overlaps maps the id of each server that shares an address with others to those
// others: the address of a client does not tell which of them it is.
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

// asNetwork parses an address as the network of that one address.
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
