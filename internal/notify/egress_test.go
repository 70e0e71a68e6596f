package notify

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhichAddressesAreCalled(t *testing.T) {
	for _, tt := range []struct {
		address       string
		public, local bool
	}{
		{"93.184.215.14:443", true, true},
		{"[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:443", true, true},
		{"[::ffff:93.184.215.14]:443", true, true},

		{"127.0.0.1:80", false, true},
		{"127.8.8.8:80", false, true},
		{"[::1]:80", false, true},
		{"[::ffff:127.0.0.1]:80", false, true},
		{"10.1.2.3:80", false, true},
		{"172.16.0.1:80", false, true},
		{"172.31.255.255:80", false, true},
		{"192.168.1.1:80", false, true},
		{"[::ffff:10.0.0.1]:80", false, true},
		{"100.64.0.1:80", false, true},
		{"198.18.0.1:80", false, true},
		{"192.0.2.1:80", false, true},
		{"[fc00::1]:80", false, true},
		{"[fd12:3456::1]:80", false, true},
		{"[2001:db8::1]:80", false, true},

		{"169.254.169.254:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[fe80::1%eth0]:80", false, false},
		{"[fd00:ec2::254]:80", false, false},
		{"[fd20:ce::254]:80", false, false},
		{"100.100.100.200:80", false, false},
		{"168.63.129.16:80", false, false},
		{"0.0.0.0:80", false, false},
		{"[::]:80", false, false},
		{"224.0.0.1:80", false, false},
		{"255.255.255.255:80", false, false},
		{"[ff02::1]:80", false, false},
		{"[64:ff9b::a9fe:a9fe]:80", false, false},   // NAT64 of 169.254.169.254
		{"[64:ff9b:1::a9fe:a9fe]:80", false, false}, // NAT64, local-use prefix
		{"[2002:a9fe:a9fe::1]:80", false, false},    // 6to4
		{"[2001:0:4136:e378::1]:80", false, false},  // Teredo
		{"not an address", false, false},
	} {
		if err := Public.check(tt.address); (err == nil) != tt.public {
			t.Errorf("%s from Public: %v", tt.address, err)
		}
		if err := Local.check(tt.address); (err == nil) != tt.local {
			t.Errorf("%s from Local: %v", tt.address, err)
		}
	}
}

// The check is made on what a name resolves to, at the moment of dialling.
func TestAPublicClientDoesNotReachThisMachine(t *testing.T) {
	reached := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	for _, url := range []string{
		server.URL, "http://localhost:" + port, "http://0x7f000001:" + port, "http://[::ffff:127.0.0.1]:" + port,
		"http://2130706433:" + port, "file:///etc/passwd", "gopher://127.0.0.1:" + port,
	} {
		if res, err := NewClient(Public).Get(url); err == nil {
			res.Body.Close()
			t.Errorf("%s was called", url)
		}
	}
	if reached {
		t.Error("the server was reached")
	}
	res, err := NewClient(Local).Get(server.URL)
	if err != nil {
		t.Fatalf("a local client: %v", err)
	}
	res.Body.Close()
}

// A proxy would dial where the check does not look.
func TestTheEnvironmentsProxyIsNotObeyed(t *testing.T) {
	for _, reach := range []Reach{Public, Local} {
		if NewClient(reach).Transport.(*http.Transport).Proxy != nil {
			t.Errorf("a client of reach %d takes its proxy from somewhere", reach)
		}
	}
}
