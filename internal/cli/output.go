package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/mattn/go-isatty"

	"github.com/flyballdev/flyball/internal/api"
)

var (
	red    = text.Colors{text.FgRed, text.Bold}
	green  = text.Colors{text.FgGreen}
	yellow = text.Colors{text.FgYellow}
	faint  = text.Colors{text.Faint}
	bold   = text.Colors{text.Bold}
)

// terminal says whether people read the output as it comes.
func (p *program) terminal() bool {
	f, ok := p.out.(*os.File)
	return ok && isTerminal(f)
}

func isTerminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) }

// paint colours s where people read it.
func (p *program) paint(c text.Colors, s string) string {
	if p.noColor || !p.terminal() || p.output == "json" {
		return s
	}
	return c.EscapeSeq() + s + "\x1b[0m"
}

// answer prints what a row answered: JSON as it came, a table of what is
// listed, or what a single thing is, as YAML.
func (p *program) answer(o api.Operation, answer json.RawMessage) error {
	if p.output == "json" {
		return p.printJSON(answer)
	}
	answer = plainJSON(answer)
	switch o.Name {
	case "get_rollout", "start_rollout", "expose", "pause_rollout", "resume_rollout", "step_back_rollout", "abort_rollout", "pass_gate":
		return p.printRollout(answer)
	case "list_changes":
		return p.printChanges(answer)
	case "get_change", "approve_change", "reject_change", "review_change":
		return p.printPlanned(answer)
	case "plan_rollout":
		return p.printForecast(answer)
	case "get_evidence":
		return p.printRolloutEvidence(answer)
	case "get_fleet", "forget_instance":
		return p.printFleets(answer)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err
	}
	if o.Columns != "" {
		field, columns, _ := strings.Cut(o.Columns, ": ")
		rows, _ := v.(map[string]any)[field].([]any)
		p.printTable(rows, strings.Fields(columns))
		return nil
	}
	if o.Name == "create_token" {
		fmt.Fprintln(p.err, p.paint(yellow, "Keep the secret: it is shown once and never again."))
	}
	return p.printYAML(answer)
}

// tellMore says that a list was cut short, and how to go on: from where it ended,
// or else by a larger limit.
func (p *program) tellMore(o api.Operation, fields map[string]any, answer json.RawMessage) {
	var list struct {
		More bool
		Next any
	}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if p.output == "json" || o.Columns == "" || d.Decode(&list) != nil || !list.More {
		return
	}
	onward := maps.Clone(fields)
	if _, ok := onward["after"]; ok {
		onward["after"] = list.Next
	} else if list.Next != nil {
		onward["before"] = list.Next
	} else {
		onward["limit"] = mostListed
	}
	line := "flyball " + o.Command
	for _, name := range append(slices.Clone(o.Args), o.Maybe) {
		if v, ok := onward[name]; ok {
			line += " " + word(fmt.Sprint(v))
		}
	}
	for _, name := range fieldNames(o) {
		if v, ok := onward[name]; ok && name != o.Maybe {
			line += " --" + kebab(name) + " " + word(fmt.Sprint(v))
		}
	}
	fmt.Fprintln(p.err, p.paint(faint, "there are more: "+line))
}

// mostListed is the largest limit that every list takes.
const mostListed = 1000

// word writes a text so that a shell reads it as one word.
func word(text string) string {
	if strings.ContainsAny(text, " '\"\\$`*?") {
		return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
	}
	return text
}

func (p *program) printJSON(answer json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(answer), "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := b.WriteTo(p.out)
	return err
}

func (p *program) printYAML(answer json.RawMessage) error {
	out, err := yaml.JSONToYAML(answer)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && !strings.Contains(key, "\"") {
			line = p.paint(faint, key+":") + value
		}
		fmt.Fprint(p.out, line)
	}
	return nil
}

// printTable prints things as rows of some of their fields.
func (p *program) printTable(rows []any, columns []string) {
	if len(rows) == 0 {
		fmt.Fprintln(p.out, p.paint(faint, "none"))
		return
	}
	t := p.newTable()
	header := table.Row{}
	for _, c := range columns {
		header = append(header, strings.ToUpper(strings.ReplaceAll(kebab(strings.TrimSuffix(c, ".id")), "-", " ")))
	}
	t.AppendHeader(header)
	for _, r := range rows {
		row := table.Row{}
		for _, c := range columns {
			row = append(row, p.cell(c, lookup(r, c)))
		}
		t.AppendRow(row)
	}
	t.Render()
}

func (p *program) newTable() table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(p.out)
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = "  "
	if p.noColor || !p.terminal() {
		style.Color = table.ColorOptions{}
	} else {
		style.Color.Header = text.Colors{text.Faint}
	}
	t.SetStyle(style)
	return t
}

func lookup(v any, path string) any {
	for _, part := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	return v
}

const widest = 60

// cell writes one field in few words.
func (p *program) cell(column string, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		if len(v) > 3 {
			return fmt.Sprintf("%d", len(v))
		}
		parts := make([]string, len(v))
		for i := range v {
			if m, ok := v[i].(map[string]any); ok {
				parts[i] = inWords(m)
			} else {
				parts[i] = fmt.Sprint(v[i])
			}
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		if column == "environments" {
			return p.environments(v)
		}
		return inWords(v)
	}
	s := fmt.Sprint(v)
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return at.Local().Format("2006-01-02 15:04:05")
	}
	if r := []rune(s); len(r) > widest {
		s = string(r[:widest-1]) + "…"
	}
	switch s {
	case "running", "completed", "active", "applied":
		return p.paint(green, s)
	case "aborted", "archived", "rejected", "review":
		return p.paint(red, s)
	case "paused", "holding", "stopped", "open":
		return p.paint(yellow, s)
	}
	return s
}

// inWords writes a condition, a serve or another small thing on a line.
func inWords(v any) string {
	body, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	line := strings.NewReplacer(`"`, "", ",", ", ", ":", ": ").Replace(string(body))
	if r := []rune(line); len(r) > widest {
		line = string(r[:widest-1]) + "…"
	}
	return line
}

// environments tells a flag's state in each environment, at a glance.
func (p *program) environments(m map[string]any) string {
	var parts []string
	for env, c := range m {
		state := p.paint(faint, "off")
		switch {
		case lookup(c, "killed") != nil:
			state = p.paint(red, "killed")
		case lookup(c, "rollout") != nil:
			state = p.paint(yellow, "rollout "+share(lookup(c, "rollout.ppm")))
		case lookup(c, "enabled") == true:
			state = p.paint(green, "on")
		}
		parts = append(parts, env+"="+state)
	}
	sort.Strings(parts)
	return strings.Join(parts, " ")
}

// share writes parts per million as a percentage.
func share(ppm any) string {
	var n float64
	fmt.Sscan(fmt.Sprint(ppm), &n)
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.4f", n/10_000), "0"), ".") + " %"
}

// tellProblem tells what a server refused, field by field.
func (p *program) tellProblem(problem *api.Problem) {
	if p.output == "json" {
		body, _ := json.Marshal(problem)
		fmt.Fprintln(p.err, string(body))
		return
	}
	if len(problem.Errors) < 2 {
		fmt.Fprintln(p.err, p.paint(red, "error:"), plain(problem.Detail))
		return
	}
	fmt.Fprintln(p.err, p.paint(red, "error:"), len(problem.Errors), "fields to mend:")
	for _, e := range problem.Errors {
		fmt.Fprintf(p.err, "  %s: %s\n", p.paint(bold, plain(e.Field)), plain(e.Message))
	}
}
