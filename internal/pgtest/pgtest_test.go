package pgtest

import (
	"bufio"
	"context"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestMain is also the test binary that TestTheServerEndsWithItsTests kills.
func TestMain(m *testing.M) {
	if os.Getenv("PGTEST_CHILD") != "" {
		at, err := start()
		if err != nil {
			at = err.Error()
		}
		os.Stdout.WriteString(at + "\n")
		select {}
	}
	os.Exit(m.Run())
}

func query(t *testing.T, at, q string, into any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), q).Scan(into); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	tmpl := Template{Prepare: func(url string) error { return admin(url, `CREATE TABLE t AS SELECT 7 AS n`) }}
	a, b, c := tmpl.URL(t), tmpl.URL(t), URL(t)
	if err := admin(a, `UPDATE t SET n = 8`); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]int{a: 8, b: 7} {
		var n int
		if query(t, at, `SELECT n FROM t`, &n); n != want {
			t.Errorf("got %d, want %d", n, want)
		}
	}
	var tables int
	if query(t, c, `SELECT count(*) FROM pg_tables WHERE tablename = 't'`, &tables); tables != 0 {
		t.Error("a new database is not empty")
	}
}

// However a test binary ends, no server and no folder of it stay behind.
func TestTheServerEndsWithItsTests(t *testing.T) {
	if !private() {
		t.Skip("TEST_DATABASE_URL names a server that is not ours to end")
	}
	if _, err := binaries(); err != nil {
		running(t) // skips or fails
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "PGTEST_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	at := strings.TrimSpace(line)
	var one int
	query(t, at, `SELECT 1`, &one)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(u.Query().Get("host"))
		if os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server's folder is still there: %v", err)
		}
	}
}
