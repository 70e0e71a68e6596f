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

// A row is one of a table, whose cells are known by the names of their columns.
type row struct {
	columns map[string]int
	cells   []string
}

func (r row) at(column string) string {
	i, ok := r.columns[column]
	if !ok {
		return ""
	}
	return r.cells[i]
}

func (r row) number(column string) (float64, error) {
	v, err := strconv.ParseFloat(r.at(column), 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", column, err)
	}
	return v, nil
}

// read returns the rows of a CSV, gzip or plain.
func read(path string) ([]row, error) {
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
	columns := make(map[string]int, len(all[0]))
	for i, c := range all[0] {
		columns[c] = i
	}
	rows := make([]row, len(all)-1)
	for i, cells := range all[1:] {
		rows[i] = row{columns, cells}
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
func cookieCats(w io.Writer, rows []row, without string) error {
	const pace = 24 * time.Hour / 1000
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var due events
	n := 0
	fmt.Fprintln(w, "t,kind,flag,variant,unit,metric,value")
	later := func(at time.Time, user, metric, value string) {
		n++
		heap.Push(&due, event{at, n, fmt.Sprintf("%s,observation,,,%s,%s,%s", stamp(at), user, metric, value)})
	}
	for i, r := range rows {
		at := start.Add(time.Duration(i) * pace)
		for len(due) > 0 && !due[0].at.After(at) {
			fmt.Fprintln(w, heap.Pop(&due).(event).line)
		}
		user, variant := r.at("userid"), "gate30"
		if user == without {
			continue
		}
		if r.at("version") == "gate_40" {
			variant = "gate40"
		}
		fmt.Fprintf(w, "%s,exposure,game.gate,%s,%s,,\n", stamp(at), variant, user)
		later(at.Add(24*time.Hour), user, "game.rounds", r.at("sum_gamerounds"))
		later(at.Add(24*time.Hour), user, "game.retention1", r.at("retention_1"))
		later(at.Add(7*24*time.Hour), user, "game.retention7", r.at("retention_7"))
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
func nezha(w io.Writer, rows []row, fault string, aa int, faults string) error {
	arms, err := nezhaArms(rows, fault, aa, faults)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "t,kind,flag,variant,unit,metric,value,route")
	at := time.Date(2022, 8, 22, 0, 0, 0, 0, time.UTC)
	for i, j := 0, 0; i < len(arms[0]) || j < len(arms[1]); at = at.Add(100 * time.Millisecond) {
		// The arm that is behind its share comes next.
		var r row
		variant := "stable"
		if j == len(arms[1]) || i < len(arms[0]) && float64(i)/float64(len(arms[0])) <= float64(j)/float64(len(arms[1])) {
			r, i = arms[0][i], i+1
		} else {
			r, variant, j = arms[1][j], "canary", j+1
		}
		failed := 0
		if route := r.at("route"); route == "product_partial" || route == "other" {
			failed = 1
		}
		us, err := r.number("duration_us")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s,observation,,%s,,shop.errors,%d,%s\n", stamp(at), variant, failed, r.at("route"))
		fmt.Fprintf(w, "%s,observation,,%s,,shop.latency,%g,%s\n", stamp(at), variant, us/1000, r.at("route"))
	}
	return nil
}

// nezhaArms picks the requests of both arms, which are in the order of time.
func nezhaArms(rows []row, fault string, aa int, faults string) (arms [2][]row, err error) {
	injected := 0.0
	if aa < 0 {
		all, err := read(faults)
		if err != nil {
			return arms, err
		}
		for _, r := range all {
			if r.at("fault_id") == fault {
				if injected, err = r.number("inject_unix"); err != nil {
					return arms, err
				}
			}
		}
		if injected == 0 {
			return arms, fmt.Errorf("there is no fault %q", fault)
		}
	}
	for _, r := range rows {
		switch arm := r.at("arm"); {
		case arm == "clean" && aa >= 0 && picked(r.at("trace_id"), aa):
			arms[1] = append(arms[1], r)
		case arm == "clean":
			arms[0] = append(arms[0], r)
		case aa < 0 && arm == "fault":
			start, err := r.number("start_unix_ms")
			if err != nil {
				return arms, err
			}
			since, err := r.number("since_inject")
			if err != nil {
				return arms, err
			}
			if math.Abs(start/1000-since-injected) < 2 {
				arms[1] = append(arms[1], r)
			}
		}
	}
	return arms, nil
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
func udacity(w io.Writer, rows []row) error {
	fmt.Fprintln(w, "t,kind,flag,variant,unit,metric,value,country")
	for _, r := range rows {
		at, err := time.Parse("2006-01-02 15:04:05.999999", r.at("timestamp"))
		if err != nil {
			return err
		}
		variant := "old"
		if r.at("group") == "treatment" {
			variant = "new"
		}
		fmt.Fprintf(w, "%s,exposure,shop.landing,%s,%s,,,%s\n", stamp(at), variant, r.at("user_id"), r.at("country"))
		fmt.Fprintf(w, "%s,observation,,,%s,shop.conversion,%s,%s\n", stamp(at), r.at("user_id"), r.at("converted"), r.at("country"))
	}
	return nil
}
