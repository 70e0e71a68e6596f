// Package pgtest gives tests a real PostgreSQL. One server is started for a
// test binary, by the first test that needs it, and every test gets databases
// of its own. The server ends with the test binary, however that ends.
//
// The server is that of TEST_DATABASE_URL, if it is set: a postgres:// URL of
// a user who may create databases. Otherwise a private one is started from the
// newest binaries that are installed. Without either, tests are skipped; where
// the environment variable CI is set, they fail instead.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is the URL of the server's own database, once one runs.
var server = sync.OnceValues(func() (string, error) {
	if private() {
		return start()
	}
	return os.Getenv("TEST_DATABASE_URL"), nil
})

// private says that the server is ours, and goes with all that is in it.
func private() bool { return os.Getenv("TEST_DATABASE_URL") == "" }

// URL returns the URL of a new, empty database. On a private server its locale
// sorts as people do, not as bytes, where the server's version can.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, "template0")
}

// A Template is a database that is prepared once for a test binary and copied
// for each test, which is faster than to prepare one each time. Prepare is
// given the URL of an empty database.
type Template struct {
	Prepare func(url string) error

	once sync.Once
	name string
	err  error
}

// URL returns the URL of a new copy of the template.
func (p *Template) URL(t testing.TB) string {
	t.Helper()
	at := running(t)
	if !private() { // a template would stay behind
		url := database(t, "template0")
		if err := p.Prepare(url); err != nil {
			t.Fatalf("prepare a database: %v", err)
		}
		return url
	}
	p.once.Do(func() {
		p.name = newName()
		if p.err = admin(at, fmt.Sprintf(`CREATE DATABASE %q TEMPLATE template0`, p.name)); p.err == nil {
			p.err = p.Prepare(rename(at, p.name))
		}
	})
	if p.err != nil {
		t.Fatalf("prepare a template database: %v", p.err)
	}
	return database(t, p.name)
}

// database creates a database, which is dropped when the test ends; in a
// private server it goes with the server, without the work of dropping it.
func database(t testing.TB, template string) string {
	t.Helper()
	at, name := running(t), newName()
	if err := admin(at, fmt.Sprintf(`CREATE DATABASE %q TEMPLATE %q`, name, template)); err != nil {
		t.Fatalf("create a database: %v", err)
	}
	if !private() {
		t.Cleanup(func() {
			if err := admin(at, fmt.Sprintf(`DROP DATABASE %q WITH (FORCE)`, name)); err != nil {
				t.Errorf("drop a database: %v", err)
			}
		})
	}
	return rename(at, name)
}

// running returns the URL of the server, or ends the test.
func running(t testing.TB) string {
	t.Helper()
	at, err := server()
	switch {
	case errors.Is(err, errMissing) && os.Getenv("CI") == "":
		t.Skipf("%v: set TEST_DATABASE_URL or install PostgreSQL", err)
	case err != nil:
		t.Fatalf("start PostgreSQL: %v", err)
	}
	return at
}

func newName() string { return "flyball_test_" + strings.ToLower(rand.Text()[:12]) }

// rename returns a URL with the name of another database.
func rename(at, database string) string {
	u, err := url.Parse(at)
	if err != nil {
		return at // admin connected to it before, so it is well formed
	}
	u.Path = "/" + database
	return u.String()
}

func admin(at, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, at)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}
