// Package record keeps what was measured: as JSON, with the machine it was
// measured on, and as tables for people.
package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"
)

// A Machine is where something was measured, as far as it matters.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Load   string `json:"load" doc:"the load average before measuring: what neighbours did"`
}

// A Run is one run of a benchmark.
type Run struct {
	Benchmark string            `json:"benchmark"`
	Command   string            `json:"command"`
	At        time.Time         `json:"at"`
	Seconds   float64           `json:"seconds"`
	Machine   Machine           `json:"machine"`
	Versions  map[string]string `json:"versions,omitempty"`
	Results   any               `json:"results"`
	began     time.Time
}

// Begin notes when and where a benchmark begins.
func Begin(benchmark, command string) *Run {
	now := time.Now()
	return &Run{Benchmark: benchmark, Command: command, At: now.UTC().Truncate(time.Second), Machine: machine(), began: now}
}

func machine() Machine {
	return Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Memory: field("/proc/meminfo", "MemTotal"),
		Kernel: first("/proc/sys/kernel/osrelease"), Go: runtime.Version(), Load: first("/proc/loadavg"),
	}
}

// field returns a line's value in a file of "name: value" lines; empty if there
// is none.
func field(path, name string) string {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(n) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func first(path string) string {
	data, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(data), "\n")
	return line
}

// VersionsOf returns the versions of those modules in this program whose path
// has one of the prefixes.
func VersionsOf(prefixes ...string) map[string]string {
	versions := map[string]string{}
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return versions
	}
	for _, m := range info.Deps {
		for _, prefix := range prefixes {
			if strings.HasPrefix(m.Path, prefix) {
				versions[m.Path] = m.Version
			}
		}
	}
	return versions
}

// Write ends the run and writes it into a folder, under its name and time.
func (r *Run) Write(folder string, results any) (path string, err error) {
	r.Results, r.Seconds = results, time.Since(r.began).Round(time.Second/10).Seconds()
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	path = filepath.Join(folder, r.Benchmark+"-"+r.At.Format("20060102-150405")+".json")
	return path, os.WriteFile(path, append(body, '\n'), 0o644)
}

// String tells where and when.
func (r *Run) String() string {
	m := r.Machine
	return fmt.Sprintf("%s: %s, %d cores, %s, Linux %s, %s, load %s", r.At.Format(time.DateTime+" UTC"), m.CPU, m.Cores, m.Memory, m.Kernel, m.Go, m.Load)
}

// A Table is rows of cells; the first row is its head.
type Table [][]string

// Print writes the table as Markdown whose columns line up.
func (t Table) Print(out io.Writer) {
	var widths []int
	for _, row := range t {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 3)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b bytes.Buffer
	for n, row := range t {
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString("| " + cell + pad + " |")
			} else {
				b.WriteString(" " + pad + cell + " |")
			}
		}
		b.WriteByte('\n')
		if n == 0 {
			for i := range row {
				if i == 0 {
					b.WriteString("|" + strings.Repeat("-", widths[i]+2) + "|")
				} else {
					b.WriteString(strings.Repeat("-", widths[i]+1) + ":|")
				}
			}
			b.WriteByte('\n')
		}
	}
	out.Write(b.Bytes())
}
