package notify

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Reach says which addresses a client may call.
type Reach int

// The reaches. Link-local addresses, where clouds keep their metadata and
// credentials, are out of reach always.
const (
	Public Reach = iota // addresses of the public internet
	Local               // also private addresses and this machine
)

// NewClient returns a client for URLs that people configure. It looks at each
// address at the moment of dialling, after the name was resolved, so that no
// name can lead it to where it must not go; it follows no redirect, obeys no
// proxy of the environment, and gives up after five seconds.
func NewClient(reach Reach) *http.Client { return newClient(reach, net.DefaultResolver) }

func newClient(reach Reach, names *net.Resolver) *http.Client {
	dialer := &net.Dialer{Timeout: 3 * time.Second, Resolver: names, Control: func(_, address string, _ syscall.RawConn) error {
		return reach.check(address)
	}}
	return &http.Client{
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 3 * time.Second,
			MaxIdleConns: 16, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

func (r Reach) check(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address", address)
	}
	ip := at.Addr().WithZone("").Unmap()
	if within(ip, never) {
		return fmt.Errorf("%s is never called: it is a link-local, metadata or multicast address", ip)
	}
	if r == Public && !public(ip) {
		return fmt.Errorf("%s is not a public address, and local ones are not allowed", ip)
	}
	return nil
}

// CheckURL refuses a URL whose host is written as an address that a client of this
// reach never calls, so that who configures it hears at once. What a name leads to
// is looked at when it is dialled, and that alone is the defence.
func (r Reach) CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("%q is not a URL", text)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return r.check(netip.AddrPortFrom(ip.WithZone(""), 80).String())
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch _, err := strconv.ParseUint(last, 0, 64); {
	case err == nil || strings.Trim(last, "0123456789") == "":
		return fmt.Errorf("%s is no name, and no address as addresses are written", host)
	case r == Public && (last == "localhost" || host == "localhost.localdomain"):
		return fmt.Errorf("%s is this machine, and local addresses are not allowed", host)
	}
	return nil
}

// public says whether an address is of the public internet, by the registries
// of special-purpose addresses (RFC 6890). Those that carry an IPv4 address
// within (NAT64, 6to4, Teredo) would lead around the check, and are not.
func public(ip netip.Addr) bool {
	if ip.Is4() {
		return !within(ip, special4)
	}
	return global6.Contains(ip) && !within(ip, special6)
}

func within(ip netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

var (
	never = prefixes(
		"0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
		"100.100.100.200/32", "168.63.129.16/32", // metadata of Alibaba Cloud and of Azure
		"fe80::/10", "fec0::/10", "ff00::/8", "::/128",
		"fd00:ec2::254/128", "fd20:ce::254/128", // metadata of AWS and of Google Cloud
		"64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::ffff:0:0:0/96", // IPv4 within
	)
	special4 = prefixes(
		"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	)
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "3fff::/20")
)

func prefixes(all ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(all))
	for i, p := range all {
		out[i] = netip.MustParsePrefix(p)
	}
	return out
}
