package notify

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/flyballdev/flyball"
)

// names is a resolver that answers with whatever addresses the test wants; the
// more often it is asked for "rebind.test", the more its answer changes.
func names(t *testing.T, known map[string][]string) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	var asked atomic.Int64
	go func() {
		query := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			server.WriteTo(answer(query[:n], known, asked.Add(1)), from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// answer answers a query of the domain name system for one name.
func answer(query []byte, known map[string][]string, turn int64) []byte {
	var labels []string
	at := 12
	for query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	reply := append([]byte{}, query[:at+5]...) // header and question
	name := strings.ToLower(strings.Join(labels, "."))
	all, found := known[name]
	if name == "rebind.test" && len(all) > 0 {
		all = all[turn%int64(len(all)):][:1]
	}
	n := uint16(0)
	for _, text := range all {
		ip := netip.MustParseAddr(text)
		if ip.Is4() != (kind == 1) {
			continue
		}
		n++
		reply = append(reply, 0xc0, 12) // the name of the question
		reply = binary.BigEndian.AppendUint16(reply, kind)
		reply = append(reply, 0, 1, 0, 0, 0, 0) // of the internet, good for no time
		reply = binary.BigEndian.AppendUint16(reply, uint16(len(ip.AsSlice())))
		reply = append(reply, ip.AsSlice()...)
	}
	reply[2], reply[3] = 0x85, 0x80
	if !found {
		reply[3] |= 3 // there is no such name
	}
	binary.BigEndian.PutUint16(reply[6:], n)
	copy(reply[8:12], []byte{0, 0, 0, 0})
	return reply
}

// No URL leads a client of the public reach to this machine or to a network
// around it: by an address in any spelling, by a name that resolves to one, or
// by a redirect.
func TestNoURLLeadsInside(t *testing.T) {
	var reached atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached.Add(1) }))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	known := map[string][]string{
		"loopback.test": {"127.0.0.1"}, "loopback6.test": {"::1"}, "mapped.test": {"::ffff:127.0.0.1"}, "private.test": {"10.0.0.1", "192.168.0.1"},
		"metadata.test": {"169.254.169.254"}, "metadata6.test": {"fd00:ec2::254"}, "nat64.test": {"64:ff9b::7f00:1"}, "nat64local.test": {"64:ff9b:1::7f00:1"},
		"sixtofour.test": {"2002:7f00:1::"}, "teredo.test": {"2001::80ff:fffe"}, "unspecified.test": {"0.0.0.0", "::"}, "local6.test": {"fe80::1"},
		"unique.test": {"fc00::1"}, "cgnat.test": {"100.64.0.1"}, "both.test": {"127.0.0.1", "::1"}, "rebind.test": {"10.0.0.1", "127.0.0.1", "172.16.0.1"},
		"siit.test": {"::ffff:0:127.0.0.1"}, "empty.test": {},
	}
	hosts := []string{
		"127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "0", "0.0.0.0", "00.0.0.0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1",
		"017700000001", "0177.0.0.1", "0177.1", "127.0.0.1.", "127.0.0.01", "１２７.０.０.１", "127。0。0。1", "%31%32%37.0.0.1",
		"localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:0:0:0:0:80ff:fffe]", "[::ffff:0:7f00:1]",
		"[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.100.100.200",
		"100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "2852039166", "0xa9fea9fe", "user@127.0.0.1", "example.com@127.0.0.1",
	}
	for name := range known {
		hosts = append(hosts, name, strings.ToUpper(name)+".")
	}
	urls := []string{
		"file:///etc/passwd", "gopher://127.0.0.1:" + port, "ftp://127.0.0.1:" + port, "unix:///var/run/docker.sock", "//127.0.0.1:" + port, "http:///127.0.0.1",
		"http:127.0.0.1:" + port, "http://127.0.0.1:" + port + "\\@example.com", "jar:http://127.0.0.1!/", "data:text/plain,x", "dict://127.0.0.1:" + port,
	}
	for _, h := range hosts {
		urls = append(urls, "http://"+h+":"+port+"/", "https://"+h+":"+port+"/")
	}
	client := newClient(Public, names(t, known))
	for _, u := range urls {
		res, err := client.Get(u)
		if err == nil {
			res.Body.Close()
			t.Errorf("%s was called", u)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("this machine was reached %d times", n)
	}
	if len(urls) < 150 {
		t.Errorf("the corpus has %d URLs", len(urls))
	}
	// The same names lead here where that is allowed, or the above would show
	// nothing; metadata are out of reach all the same.
	local := newClient(Local, names(t, known))
	for _, name := range []string{"loopback.test", "both.test", "127.0.0.1"} {
		res, err := local.Get("http://" + name + ":" + port + "/")
		if err != nil {
			t.Fatalf("a local client does not reach %s: %v", name, err)
		}
		res.Body.Close()
	}
	for _, name := range []string{"metadata.test", "metadata6.test", "nat64.test", "sixtofour.test", "teredo.test", "siit.test", "unspecified.test", "169.254.169.254"} {
		if _, err := local.Get("http://" + name + ":" + port + "/"); err == nil || !strings.Contains(err.Error(), "is never called") {
			t.Errorf("%s from a local client: %v", name, err)
		}
	}
}

// A redirect is an answer like any other, wherever it leads.
func TestNoRedirectLeadsInside(t *testing.T) {
	var reached atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(inside.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		outside := httptest.NewServer(http.RedirectHandler(inside.URL, status))
		t.Cleanup(outside.Close)
		res, err := NewClient(Local).Post(outside.URL, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != status {
			t.Errorf("%d became %d", status, res.StatusCode)
		}
	}
	if reached.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

// What the environment says of proxies is not read: a proxy would dial where
// the check does not look.
func TestAProxyOfTheEnvironmentIsNotAsked(t *testing.T) {
	var asked atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	client := newClient(Public, names(t, map[string][]string{"private.test": {"10.0.0.1"}}))
	if _, err := client.Get("http://private.test/"); err == nil || !strings.Contains(err.Error(), "is not a public address") {
		t.Errorf("got %v", err)
	}
	if asked.Load() > 0 {
		t.Error("the proxy was asked")
	}
}

// An answer of any length, and headers of any length, end.
func TestAnAnswerIsReadToNoMoreThanItsBound(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/headers" {
			for i := range 2000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
			return
		}
		for {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(endless.Close)
	l := openLog(t, t.TempDir()+"/flyball.db")
	teller := l.teller("one")
	for path, wantErr := range map[string]bool{"/body": false, "/headers": true} {
		a := teller.post(t.Context(), flyball.WebhookGeneric, flyball.WebhookTarget{URL: endless.URL + path}, "1", message{})
		if (a.err != nil) != wantErr {
			t.Errorf("%s: %+v", path, a)
		}
	}
}

// Who configures an address that is never called hears so at once, in whatever
// spelling; a name is taken, for only dialling tells where it leads.
func TestAnAddressThatIsNeverCalledIsRefusedWhereItIsWritten(t *testing.T) {
	for _, host := range []string{
		"127.0.0.1", "127.0.0.1.", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.01", "localhost", "LOCALHOST.", "x.localhost",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[fc00::1]", "10.0.0.1", "172.16.0.1", "192.168.0.1",
		"169.254.169.254", "100.100.100.200", "100.64.0.1", "224.0.0.1", "255.255.255.255", "2852039166", "0xa9fea9fe",
	} {
		if err := Public.CheckURL("http://" + host + ":8080/x"); err == nil {
			t.Errorf("%s is taken", host)
		}
	}
	for _, host := range []string{"example.com", "93.184.216.34", "[2606:2800:220:1::1]", "hooks.slack.com", "0x7f.example", "1.example"} {
		if err := Public.CheckURL("https://" + host + "/x"); err != nil {
			t.Errorf("%s is refused: %v", host, err)
		}
	}
	for _, host := range []string{"127.0.0.1", "localhost", "10.0.0.1", "[::1]"} {
		if err := Local.CheckURL("http://" + host + "/x"); err != nil {
			t.Errorf("%s is refused where local ones are allowed: %v", host, err)
		}
	}
	for _, host := range []string{"169.254.169.254", "2852039166", "[fd00:ec2::254]", "0.0.0.0"} {
		if err := Local.CheckURL("http://" + host + "/x"); err == nil {
			t.Errorf("%s is taken where local ones are allowed", host)
		}
	}
}
