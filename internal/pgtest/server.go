package pgtest

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var errMissing = errors.New("no PostgreSQL is installed")

// script runs the server until standard input ends, and then takes it and its
// folder away. Standard input is a pipe that only the test binary holds: so
// the server goes when the binary does, also if that is killed.
const script = `
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c full_page_writes=off -c autovacuum=off -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=4GB -c max_connections=200 >"$2/log" 2>&1 &
server=$!
read -r _
kill -QUIT $server
wait $server
rm -rf "$2"
`

// lifeline is that pipe's other end. It is kept here since an open file that
// nothing refers to is closed by the garbage collector.
//
//lint:ignore U1000 holding it is its use
var lifeline io.Closer

// start starts a private server on a socket in a folder of its own, and
// returns its URL once it answers.
func start() (string, error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	who, err := unprivileged()
	if err != nil {
		return "", err
	}
	dir, err := folder(who)
	if err != nil {
		return "", err
	}
	if err := initialise(bin, dir, who); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	shell := exec.Command("sh", "-c", script, "sh", bin, dir)
	shell.SysProcAttr, shell.Dir = who, dir
	if lifeline, err = shell.StdinPipe(); err != nil {
		return "", err
	}
	if err := shell.Start(); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	at := "postgres:///postgres?" + url.Values{"host": {dir}, "user": {"postgres"}, "sslmode": {"disable"}}.Encode()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := admin(at, `SELECT 1`)
		if err == nil {
			return at, nil
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return "", fmt.Errorf("the server does not answer: %w\n%s", err, log)
		}
	}
}

// initialise makes the server's data, in a locale that sorts as people do
// where the version can.
func initialise(bin, dir string, who *syscall.SysProcAttr) error {
	common := []string{"-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"}
	var err error
	for _, more := range [][]string{{"--locale-provider=icu", "--icu-locale=en-US"}, nil} {
		initdb := exec.Command(filepath.Join(bin, "initdb"), append(slices.Clone(common), more...)...)
		initdb.SysProcAttr, initdb.Dir = who, dir
		out, failed := initdb.CombinedOutput()
		if failed == nil {
			return nil
		}
		err = fmt.Errorf("initdb: %w\n%s", failed, out)
	}
	return err
}

// binaries returns the folder of the newest server that is installed.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		bin := strings.TrimSpace(string(out))
		if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
			return bin, nil
		}
	}
	return "", errMissing
}

// unprivileged says as whom to run the server: PostgreSQL refuses to be root.
func unprivileged() (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// folder makes the server's folder. It lies directly in /tmp, since the path
// of a socket is short and root's own temporary folder may be closed to
// others.
func folder(who *syscall.SysProcAttr) (string, error) {
	dir, err := os.MkdirTemp("/tmp", "flyball-pg")
	if err != nil || who.Credential == nil {
		return dir, err
	}
	return dir, os.Chown(dir, int(who.Credential.Uid), int(who.Credential.Gid))
}
