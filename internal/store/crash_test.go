package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestMain is also every process that the tests below start: the test binary,
// run again with a role.
func TestMain(m *testing.M) {
	switch url := os.Getenv("STORE_TEST_URL"); os.Getenv("STORE_TEST_ROLE") {
	case "open":
		db, err := Open(context.Background(), url)
		if err == nil {
			err = db.Close()
		}
		exit(err)
	case "write":
		exit(writeForEver(url))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func process(t *testing.T, role, url string) *exec.Cmd {
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "STORE_TEST_ROLE="+role, "STORE_TEST_URL="+url)
	return c
}

func TestProcessesThatStartAtOnceMigrateOnce(t *testing.T) {
	empty := map[string]func(testing.TB) string{"sqlite": kinds[0].url, "postgres": emptyPostgres}
	for name, url := range empty {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			var processes sync.WaitGroup
			for range 4 {
				processes.Go(func() {
					if out, err := process(t, "open", url).CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
					}
				})
			}
			processes.Wait()
			wantMigratedOnce(t, open(t, url))
		})
	}
}

// writeForEver commits changes from several goroutines, and tells each one on
// standard output once it is acknowledged.
func writeForEver(url string) error {
	db, err := Open(context.Background(), url)
	if err != nil {
		return err
	}
	errs := make(chan error)
	for i := range 3 {
		go func() {
			for n := 0; ; n++ {
				var version, audit, log int64
				reason := fmt.Sprint(os.Getpid(), "-", i, "-", n)
				err := db.Update(context.Background(), func(tx *Tx) (err error) {
					version, audit, log, err = change(tx, "a.flag", reason)
					return err
				})
				if err != nil {
					errs <- err
					return
				}
				// One write, so that a line is told whole or not at all.
				fmt.Fprintf(os.Stdout, "%d %d %d %s\n", version, audit, log, reason)
			}
		}()
	}
	return <-errs
}

// An acked is a change that a process was told is durable.
type acked struct {
	version, audit, log int64
	reason              string
}

// Whatever instant a process dies at, all that it was told is durable is
// there, and nothing is there by half.
func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	kills := 20
	if nightly() {
		kills = 200
	}
	path := filepath.Join(t.TempDir(), "flyball.db")
	db := open(t, path)
	update(t, db, furnish("a.flag"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	total := 0
	for kill := range kills {
		acks := writeAndKill(t, path, time.Duration(1+random.IntN(40))*time.Millisecond)
		total += len(acks)
		wantAcknowledged(t, path, acks)
		if t.Failed() {
			t.Fatalf("after kill %d", kill+1)
		}
	}
	t.Logf("%d kills, %d changes acknowledged, none lost", kills, total)
	if total < kills {
		t.Errorf("only %d changes were acknowledged: the writers hardly wrote", total)
	}
}

// writeAndKill lets a process write, kills it a while after its first
// acknowledgement, and returns all of them.
func writeAndKill(t *testing.T, path string, after time.Duration) (acks []acked) {
	t.Helper()
	writer := process(t, "write", path)
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	writer.Stderr = os.Stderr
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a acked
		if _, err := fmt.Sscan(lines.Text(), &a.version, &a.audit, &a.log, &a.reason); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		acks = append(acks, a)
		if timer == nil {
			timer = time.AfterFunc(after, func() { _ = writer.Process.Kill() })
		}
	}
	var exit *exec.ExitError
	if err := writer.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return acks
}

func wantAcknowledged(t *testing.T, path string, acks []acked) {
	t.Helper()
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var check string
	if err := db.read.QueryRow(`PRAGMA integrity_check`).Scan(&check); err != nil || check != "ok" {
		t.Errorf("integrity check: %s, %v", check, err)
	}
	var version int64
	view(t, db, func(tx *Tx) error {
		e, err := tx.Environment("production")
		version = e.Version
		audit, err2 := tx.Audit(AuditFilter{OldestFirst: true, Limit: int(version) + 10})
		for _, a := range acks {
			if a.version > version || a.audit > int64(len(audit)) {
				t.Errorf("change %+v was acknowledged and is lost", a)
			} else if got := audit[a.audit-1]; got.Version != a.version || got.Reason != a.reason || a.log != a.version {
				t.Errorf("change %+v is now %+v", a, got)
			}
		}
		return errors.Join(err, err2)
	})
	wantWhole(t, db, version)
}
