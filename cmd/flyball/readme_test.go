package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Every command of the README's tour works, in its order, as it is written.
func TestTheReadmesTour(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var tour strings.Builder
	tour.WriteString("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
	blocks := 0
	for _, part := range strings.Split(string(readme), "```sh\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		tour.WriteString(block)
		blocks++
	}
	if blocks < 5 {
		t.Fatalf("the tour has %d blocks of commands", blocks)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command("bash", "-c", tour.String())
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "FLYBALL_LISTEN="+address, "FLYBALL_SERVER=http://"+address, "CGO_ENABLED=0", "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"rule: staff", `"variant":"on"`, "[1 %] → 10 % → 100 %", "flag.kill", "risk: ", "flag.resume shop.checkout.fast", "no difference"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the tour does not show %q:\n%s", want, out)
		}
	}
}
