//go:build ignore

// This program turns three public data sets into histories that
// "flyball backtest" reads. Each is a real or published comparison of two arms,
// whose outcome is known. See README.md beside it.
//
//	go run docs/histories/history.go cookiecats cookie_cats.csv.gz > cookiecats.csv
//	go run docs/histories/history.go cookiecats -without 6390605 cookie_cats.csv.gz
//	go run docs/histories/history.go nezha -fault 3 requests_2022-08-22.csv.gz faults.csv
//	go run docs/histories/history.go nezha -aa 7 requests_2022-08-22.csv.gz
//	go run docs/histories/history.go udacity ab_data_sorted.csv.gz > udacity.csv
package main

import (
	"bufio"
	"compress/gzip"
	"container/heap"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "history:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("name a data set: cookiecats, nezha or udacity")
	}
	w := bufio.NewWriterSize(out, 1<<20)
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	without := fs.String("without", "", "leave this user out (cookiecats)")
	fault := fs.String("fault", "", "the fault whose requests are the treatment (nezha)")
	aa := fs.Int("aa", -1, "split the clean requests at random by this number instead (nezha)")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("name the file of the data set")
	}
	rows, err := read(fs.Arg(0))
	if err != nil {
		return err
	}
	switch args[0] {
	case "cookiecats":
		err = cookieCats(w, rows, *without)
	case "nezha":
		err = nezha(w, rows, *fault, *aa, fs.Arg(1))
	case "udacity":
		err = udacity(w, rows)
	default:
		err = fmt.Errorf("there is no data set %q", args[0])
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

// read returns the rows of a CSV, gzip or plain, each by the names of its
// columns.
func read(path string) ([]map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	all, err := csv.NewReader(r).ReadAll()
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, errors.New("no rows")))
	}
	rows := make([]map[string]string, len(all)-1)
	for i, fields := range all[1:] {
		rows[i] = make(map[string]string, len(fields))
		for j, v := range fields {
			rows[i][all[0][j]] = v
		}
	}
	return rows, nil
}

// An event is a line of history and its time.
type event struct {
	at   time.Time
	n    int // events of one time keep their order
	line string
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// cookieCats writes an experiment with a mobile game, in which the gate that
// stops players for a while was moved from level 30 to level 40. The file tells
// no times: players arrive in its order, a thousand a day, and their outcomes
// one and seven days later.
func cookieCats(w io.Writer, rows []map[string]string, without string) error {
	const pace = 24 * time.Hour / 1000
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var due events
	n := 0
	fmt.Fprintln(w, "t,kind,flag,variant,unit,metric,value")
	later := func(at time.Time, user, metric, value string) {
		n++
		heap.Push(&due, event{at, n, fmt.Sprintf("%s,observation,,,%s,%s,%s", stamp(at), user, metric, value)})
	}
	for i, row := range rows {
		at := start.Add(time.Duration(i) * pace)
		for len(due) > 0 && !due[0].at.After(at) {
			fmt.Fprintln(w, heap.Pop(&due).(event).line)
		}
		user, variant := row["userid"], "gate30"
		if user == without {
			continue
		}
		if row["version"] == "gate_40" {
			variant = "gate40"
		}
		fmt.Fprintf(w, "%s,exposure,game.gate,%s,%s,,\n", stamp(at), variant, user)
		later(at.Add(24*time.Hour), user, "game.rounds", row["sum_gamerounds"])
		later(at.Add(24*time.Hour), user, "game.retention1", row["retention_1"])
		later(at.Add(7*24*time.Hour), user, "game.retention7", row["retention_7"])
	}
	for len(due) > 0 {
		fmt.Fprintln(w, heap.Pop(&due).(event).line)
	}
	return nil
}

// nezha writes requests of a shop into which faults were injected, as a canary:
// the requests without a fault are control, those of one fault are treatment,
// each arm in the order of its times, and both spread evenly over a stream of
// ten requests a second. With aa, one in twenty of the clean requests, picked at
// random, is the treatment, and nothing is wrong with it.
func nezha(w io.Writer, rows []map[string]string, fault string, aa int, faults string) error {
	var arms [2][]map[string]string // the file is in the order of time
	injected := int64(0)
	if aa < 0 {
		all, err := read(faults)
		if err != nil {
			return err
		}
		for _, row := range all {
			if row["fault_id"] == fault {
				injected, _ = strconv.ParseInt(row["inject_unix"], 10, 64)
			}
		}
		if injected == 0 {
			return fmt.Errorf("there is no fault %q", fault)
		}
	}
	for _, row := range rows {
		start, _ := strconv.ParseFloat(row["start_unix_ms"], 64)
		since, _ := strconv.ParseFloat(row["since_inject"], 64)
		switch {
		case row["arm"] == "clean" && aa >= 0 && picked(row["trace_id"], aa):
			arms[1] = append(arms[1], row)
		case row["arm"] == "clean":
			arms[0] = append(arms[0], row)
		case aa < 0 && row["arm"] == "fault" && math.Abs(start/1000-since-float64(injected)) < 2:
			arms[1] = append(arms[1], row)
		}
	}
	at := time.Date(2022, 8, 22, 0, 0, 0, 0, time.UTC)
	for i, j := 0, 0; i < len(arms[0]) || j < len(arms[1]); at = at.Add(100 * time.Millisecond) {
		// The arm that is behind its share comes next.
		row, variant := map[string]string(nil), "stable"
		if j == len(arms[1]) || i < len(arms[0]) && float64(i)/float64(len(arms[0])) <= float64(j)/float64(len(arms[1])) {
			row, i = arms[0][i], i+1
		} else {
			row, variant, j = arms[1][j], "canary", j+1
		}
		failed := 0
		if row["route"] == "product_partial" || row["route"] == "other" {
			failed = 1
		}
		us, err := strconv.ParseFloat(row["duration_us"], 64)
		if err != nil {
			return fmt.Errorf("duration_us: %w", err)
		}
		fmt.Fprintf(w, `{"t":"%s","observation":{"metric":"shop.errors","variant":"%s","value":%d}}`+"\n", stamp(at), variant, failed)
		fmt.Fprintf(w, `{"t":"%s","observation":{"metric":"shop.latency","variant":"%s","value":%g}}`+"\n", stamp(at), variant, us/1000)
	}
	return nil
}

// picked says whether a request is among one in twenty, by chance.
func picked(trace string, split int) bool {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d:%s", split, trace)
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x%20 == 0
}

// udacity writes the visits to a shop's landing page, old and new, as CSV. The
// page that was seen is the arm; nearly two thousand visitors saw both.
func udacity(w io.Writer, rows []map[string]string) error {
	fmt.Fprintln(w, "t,kind,flag,variant,unit,metric,value,country")
	for _, row := range rows {
		at, err := time.Parse("2006-01-02 15:04:05.999999", row["timestamp"])
		if err != nil {
			return err
		}
		variant := "old"
		if row["group"] == "treatment" {
			variant = "new"
		}
		fmt.Fprintf(w, "%s,exposure,shop.landing,%s,%s,,,%s\n", stamp(at), variant, row["user_id"], row["country"])
		fmt.Fprintf(w, "%s,observation,,,%s,shop.conversion,%s,%s\n", stamp(at), row["user_id"], row["converted"], row["country"])
	}
	return nil
}
